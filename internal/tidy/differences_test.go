package tidy

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var rewrite = flag.Bool("rewrite", false, "write docs/differences.md anew")

const (
	differs         = "Differs from Kafka:"
	differencesFile = root + "/docs/differences.md"
)

// subjects are the headings of docs/differences.md, each with the code that it is about; what fits several belongs to the first.
var subjects = []struct {
	title string
	paths []string
}{
	{"Groups", []string{"internal/machine/group", "internal/machine/streams", "internal/machine/assign", "internal/machine/share", "internal/node/share", "internal/node/broker/share"}},
	{"Transactions", []string{"internal/machine/txn", "internal/machine/idempotence", "internal/node/coordinator/transactions", "internal/node/broker/latecomers", "internal/node/broker/producetxn"}},
	{"Security and quotas", []string{
		"internal/network/auth", "internal/network/certs", "internal/machine/acl", "internal/machine/quota", "internal/machine/controller/quotas", "internal/machine/controller/tokens",
		"internal/node/sasl", "internal/node/tls", "internal/node/broker/sasl", "internal/node/broker/authorize", "internal/network/edge/rates", "internal/config/exposure",
	}},
	{"Records and files", []string{"internal/format", "internal/disk", "internal/node/broker/produce"}},
	{"The cluster", []string{"internal/machine/controller", "internal/machine/metadata", "internal/node/quorum"}},
	{"Requests and settings", []string{"internal", "moldau"}},
}

// TestDifferencesAreListed holds docs/differences.md to the comments that mark a deliberate difference.
func TestDifferencesAreListed(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Where Moldau differs from Kafka on purpose\n\nMade from the comments in the code by `go test ./internal/tidy -rewrite`. What is not listed here and differs is a bug.\n")
	rows := make([]bytes.Buffer, len(subjects))
	for _, s := range repo(t) {
		if s.test {
			continue
		}
		at := slices.IndexFunc(subjects, func(x struct {
			title string
			paths []string
		}) bool {
			return slices.ContainsFunc(x.paths, func(p string) bool { return strings.HasPrefix(s.path, p) })
		})
		for _, g := range s.syntax.Comments {
			text, ok := difference(g)
			switch {
			case ok && at < 0:
				t.Errorf("%s has a difference and belongs to none of the subjects", s.path)
			case ok:
				fmt.Fprintf(&rows[at], "| %s | %s |\n", text, s.path)
			}
		}
	}
	for i := range subjects {
		if rows[i].Len() > 0 {
			fmt.Fprintf(&b, "\n## %s\n\n| what | where |\n|---|---|\n%s", subjects[i].title, rows[i].String())
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

// difference gives the paragraph of a comment, or of an item of a list in it, that begins with the mark: as sentences that can be read
// without the code.
func difference(g *ast.CommentGroup) (string, bool) {
	_, text, ok := strings.Cut(g.Text(), differs)
	if !ok {
		return "", false
	}
	text, _, _ = strings.Cut(text, "\n\n")
	text, _, _ = strings.Cut(text, "\n  - ")
	text = strings.Join(strings.Fields(text), " ")
	if word, _, _ := strings.Cut(text, " "); !strings.ContainsAny(word, "._") { // no name of a setting
		first, size := utf8.DecodeRuneInString(text)
		text = string(unicode.ToUpper(first)) + text[size:]
	}
	return strings.ReplaceAll(text, "|", "\\|"), true
}
