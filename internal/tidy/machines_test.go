package tidy

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// impure are packages that a machine or a format has no use for: they reach
// for the machine that it runs on, or for other goroutines.
var impure = []string{
	"context", "crypto/rand", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "os/signal", "path/filepath",
	"runtime", "sync", "sync/atomic", "syscall", "testing", "golang.org/x/sys/unix",
}

// timeValues are the names of package time that are values and no clock.
var timeValues = []string{"Time", "Duration", "Month", "Weekday", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "Unix", "UnixMilli", "UnixMicro", "UTC", "ParseDuration", "RFC3339"}

// clockValues are the names of internal/clock that are functions of their arguments.
var clockValues = []string{"Millis", "UUIDBits", "Rand"}

// checkPurity finds what has no place in machines and formats.
func checkPurity(s *source) []finding {
	if s.test || !s.within("internal/machine", "internal/format") || s.within("internal/format/wire/gen") {
		return nil
	}
	var found []finding
	add := func(kind, key string, n ast.Node, say string) {
		found = append(found, finding{kind: kind, key: s.path + key, at: s.at(n), say: say})
	}
	for _, i := range s.syntax.Imports {
		if p := strings.Trim(i.Path.Value, `"`); slices.Contains(impure, p) {
			add("pure", ":"+p, i, "a machine or format must not import "+p+": it gets values in and gives values out; what needs "+p+" is the shell's work")
		}
	}
	const noGoroutines = "a machine or format runs in its caller's goroutine and waits for nobody: return what is to be done as an effect"
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			add("pure", ":chan", n, noGoroutines)
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				add("pure", ":chan", n, noGoroutines)
			}
		case *ast.SelectorExpr:
			pkg, name, ok := s.selects(n)
			switch {
			case ok && pkg == "time" && !slices.Contains(timeValues, name):
				add("pure", ":time."+name, n, "a machine or format must not use time."+name+": the time is an argument")
			case ok && pkg == module+"/internal/clock" && !slices.Contains(clockValues, name):
				add("pure", ":clock."+name, n, "a machine or format must not use clock."+name+": the time is an argument, and a timer is data")
			}
		}
		return true
	})
	return found
}

func TestMachinesArePure(t *testing.T) {
	var found []finding
	for _, s := range repo(t) {
		found = append(found, checkPurity(s)...)
	}
	report(t, found, "pure")
}

// checkMapOrder finds loops over maps whose order can be seen. hidden tells whether a line, or the one above it, has an
// "unordered:" comment.
func checkMapOrder(fset *token.FileSet, f *ast.File, info *types.Info) []finding {
	hidden := map[int]bool{}
	for _, g := range f.Comments {
		for _, c := range g.List {
			if why, ok := strings.CutPrefix(strings.TrimLeft(c.Text, "/ "), "unordered:"); ok && strings.TrimSpace(why) != "" {
				line := fset.Position(c.Pos()).Line
				hidden[line], hidden[line+1] = true, true
			}
		}
	}
	const advice = "range over a sorted list (slices.Sorted(maps.Keys(m))), or say why the order cannot be seen: //unordered: why"
	sorted := map[ast.Expr]bool{}
	var found []finding
	add := func(n ast.Node, what string) {
		p := fset.Position(n.Pos())
		if !hidden[p.Line] {
			found = append(found, finding{kind: "order", key: p.Filename, at: p.Filename + ":" + strconv.Itoa(p.Line), say: what + " in a machine gives another order each time: " + advice})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			if tv, ok := info.Types[n.X]; ok && isMap(tv.Type) && (!blank(n.Key) || !blank(n.Value)) {
				add(n, "range over a map")
			}
		case *ast.CallExpr:
			switch name := calledName(info, n); {
			case strings.HasPrefix(name, "slices.Sorted"):
				for _, a := range n.Args {
					sorted[a] = true
				}
			case slices.Contains([]string{"maps.Keys", "maps.Values", "maps.All"}, name) && !sorted[n]:
				add(n, name)
			}
		}
		return true
	})
	return found
}

// blank reports whether a loop variable is not there.
func blank(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return e == nil || ok && id.Name == "_"
}

func isMap(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface: // of a type parameter: what it may stand for
		for e := range u.EmbeddedTypes() {
			if union, ok := e.(*types.Union); ok && union.Len() > 0 && isMap(union.Term(0).Type()) {
				return true
			}
		}
	}
	return false
}

// calledName is package.Function of a call, or "".
func calledName(info *types.Info, call *ast.CallExpr) string {
	e := call.Fun
	if x, ok := e.(*ast.IndexExpr); ok {
		e = x.X
	}
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	fn, ok := info.Uses[sel.Sel].(*types.Func)
	if !ok || fn.Pkg() == nil {
		return ""
	}
	return fn.Pkg().Path() + "." + fn.Name()
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Export, Dir string
	GoFiles                 []string
	DepOnly                 bool
}

// listMachines asks the go command for the machines and for the compiled form of all that they import.
func listMachines(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,DepOnly", "./internal/machine/...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var list []listed
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("a machine does not compile, so its loops cannot be checked: %v", err)
	}
	return list
}

func TestMachinesSeeNoMapOrder(t *testing.T) {
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	list := listMachines(t)
	exports := map[string]string{}
	for _, p := range list {
		exports[p.ImportPath] = p.Export
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var found []finding
	for _, p := range list {
		if p.DepOnly {
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		for _, x := range typedOrder(t, fset, p.ImportPath, files, imp) {
			x.at, x.key = relative(base, x.at), relative(base, x.key)
			found = append(found, x)
		}
	}
	report(t, found, "order")
}

// typedOrder works out the types of a package and looks at its loops.
func typedOrder(t *testing.T, fset *token.FileSet, path string, files []*ast.File, imp types.Importer) []finding {
	t.Helper()
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: imp}
	if _, err := conf.Check(path, fset, files, info); err != nil {
		t.Fatal(err)
	}
	var found []finding
	for _, f := range files {
		found = append(found, checkMapOrder(fset, f, info)...)
	}
	return found
}

func relative(base, name string) string {
	return filepath.ToSlash(strings.TrimPrefix(name, base+string(filepath.Separator)))
}
