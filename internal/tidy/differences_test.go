package tidy

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write docs/differences.md anew")

const (
	differs         = "Differs from Kafka:"
	differencesFile = root + "/docs/differences.md"
)

// TestDifferencesAreListed holds docs/differences.md to the comments that mark a deliberate difference.
func TestDifferencesAreListed(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Where Moldau differs from Kafka on purpose\n\nMade from the comments in the code by `go test ./internal/tidy -rewrite`. In the sentences \"it\" is Kafka unless they say\notherwise. What is not listed here and differs is a bug.\n\n| where | what |\n|---|---|\n")
	for _, s := range repo(t) {
		if s.test {
			continue
		}
		for _, g := range s.syntax.Comments {
			if text, ok := difference(g); ok {
				fmt.Fprintf(&b, "| %s | %s |\n", s.path, text)
			}
		}
	}
	if *rewrite {
		if err := os.WriteFile(differencesFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(differencesFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/differences.md is not what the comments say: go test ./internal/tidy -rewrite")
	}
}

// difference gives the paragraph of a comment that begins with the mark.
func difference(g *ast.CommentGroup) (string, bool) {
	_, text, ok := strings.Cut(g.Text(), differs)
	if !ok {
		return "", false
	}
	text, _, _ = strings.Cut(text, "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	return strings.ReplaceAll(text, "|", "\\|"), true
}
