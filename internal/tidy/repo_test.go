package tidy

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/moldau/moldau"
)

// source is one Go file.
type source struct {
	path      string // from the root, with slashes
	fset      *token.FileSet
	syntax    *ast.File
	test      bool // of a test: _test.go
	generated bool
	lines     int
	coded     []bool // by line: holds code and not only comment
	imports   map[string]string
}

// dir is the package's directory from the root; "." for the root itself.
func (s *source) dir() string { return path.Dir(s.path) }

// within reports whether the file lies in one of the directories or below.
func (s *source) within(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return s.dir() == d || strings.HasPrefix(s.dir(), d+"/") })
}

// outsideProduct reports whether the file is a test, or code that only tests and builds run.
func (s *source) outsideProduct() bool {
	return s.test || s.within("moldautest", "test", "internal/tidy", "internal/format/wire/gen")
}

func (s *source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// finding is one breach of a rule.
type finding struct {
	kind string // the rule, as testdata/allow.txt names it
	key  string // the thing that breaks it, as testdata/allow.txt names it
	at   string
	size int // what was measured, for rules of size
	say  string
}

// newSource parses a file's text.
func newSource(name string, text []byte) (*source, error) {
	s := &source{path: name, fset: token.NewFileSet(), test: strings.HasSuffix(name, "_test.go")}
	var err error
	s.syntax, err = parser.ParseFile(s.fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	s.generated = strings.HasPrefix(path.Base(name), "zz_generated") || ast.IsGenerated(s.syntax)
	s.lines = bytes.Count(text, []byte("\n"))
	s.coded = codedLines(text)
	s.imports = map[string]string{}
	for _, i := range s.syntax.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		name := path.Base(p)
		if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(p))
		}
		if i.Name != nil {
			name = i.Name.Name
		}
		s.imports[name] = p
	}
	return s, nil
}

// codedLines tells for each line, from 1, whether there is code on it.
func codedLines(text []byte) []bool {
	coded := make([]bool, bytes.Count(text, []byte("\n"))+2)
	fset := token.NewFileSet()
	f := fset.AddFile("", -1, len(text))
	var sc scanner.Scanner
	sc.Init(f, text, nil, 0)
	for {
		pos, tok, lit := sc.Scan()
		if tok == token.EOF {
			return coded
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		first := fset.Position(pos).Line
		for i := range strings.Count(lit, "\n") + 1 {
			coded[first+i] = true
		}
	}
}

// readRepo parses all Go files of the module, once for all tests.
var readRepo = sync.OnceValues(func() ([]*source, error) {
	var all []*source
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // somebody's temporary file
			}
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(p, root), string(filepath.Separator)))
		if e.IsDir() {
			if e.Name() == "testdata" || e.Name() == "vendor" || len(e.Name()) > 2 && e.Name()[0] == '.' {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil && name != "" {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s, err := newSource(name, text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
		return nil
	})
	return all, err
})

func repo(t *testing.T) []*source {
	t.Helper()
	all, err := readRepo()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files were found: is %s still the root?", len(all), root)
	}
	return all
}

// selects reports whether e is name.Something of an imported package, and gives that package's path.
func (s *source) selects(e ast.Expr) (pkg, name string, ok bool) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Obj != nil {
		return "", "", false
	}
	pkg, ok = s.imports[id.Name]
	return pkg, sel.Sel.Name, ok
}
