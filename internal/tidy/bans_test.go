package tidy

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ban is a set of names of one package that belong to one place.
type ban struct {
	pkg     string
	names   []string
	prefix  []string           // names that begin so
	allowed func(*source) bool // where they may stand
	instead string
}

func in(dirs ...string) func(*source) bool {
	return func(s *source) bool { return s.within(dirs...) }
}

func outsideOr(dirs ...string) func(*source) bool {
	return func(s *source) bool { return s.outsideProduct() || s.within(dirs...) }
}

// bans is every call that belongs to one place only.
var bans = []ban{
	{
		pkg: "time", names: []string{"Now", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Since", "Until"}, allowed: outsideOr("internal/clock"),
		instead: "take a clock.World (or clock.Clock) and ask it, so that the simulator can move the time",
	},
	{
		pkg: "time", names: []string{"Sleep"}, allowed: in("internal/clock"),
		instead: "wait for the event itself: a channel or callback that it ends, testing/synctest, or a hand-driven clock",
	},
	{
		pkg: "os", names: []string{
			"Chmod", "Chown", "Chtimes", "CopyFS", "Create", "CreateTemp", "DirFS", "Link", "Lstat", "Mkdir", "MkdirAll", "MkdirTemp", "NewFile", "Open", "OpenFile", "OpenInRoot",
			"OpenRoot", "ReadDir", "ReadFile", "Readlink", "Remove", "RemoveAll", "Rename", "Stat", "Symlink", "Truncate", "WriteFile",
		},
		allowed: outsideOr("internal/disk/vfs", "internal/app/cli", "cmd/moldau"),
		instead: "take a vfs.FS, so that the simulator can lose, tear and fail what is written",
	},
	{pkg: "path/filepath", names: []string{"Walk", "WalkDir", "Glob", "EvalSymlinks"}, allowed: outsideOr("internal/disk/vfs", "internal/app/cli", "cmd/moldau"), instead: "list directories through vfs"},
	{
		pkg: "golang.org/x/sys/unix", names: []string{"Open", "Openat", "Openat2", "Creat", "Mmap", "Rename", "Renameat", "Unlink", "Unlinkat", "Mkdir", "Ftruncate"},
		allowed: outsideOr("internal/disk/vfs"), instead: "put the system call behind vfs",
	},
	{
		pkg: "net", names: []string{"Dialer", "ListenConfig", "Resolver", "DefaultResolver", "Interfaces", "InterfaceAddrs", "Pipe"}, prefix: []string{"Dial", "Listen", "Lookup", "Resolve", "File"},
		allowed: outsideOr("internal/network"), instead: "take a connection or listener of internal/network, so that the simulator can cut it",
	},
	{pkg: "fmt", prefix: []string{"Print"}, allowed: outsideOr("internal/app/cli", "cmd/moldau"), instead: "log through the slog.Logger that was handed in, or return the text"},
	{pkg: "os", names: []string{"Exit"}, allowed: outsideOr("internal/app/cli", "cmd/moldau"), instead: "return an error; only the command ends the process"},
}

// bannedImports are packages that belong to one place.
var bannedImports = []ban{
	{pkg: "log", allowed: func(*source) bool { return false }, instead: "log through the log/slog logger that was handed in"},
	{pkg: "io/ioutil", allowed: func(*source) bool { return false }, instead: "use io and os, or vfs"},
	{pkg: "math/rand", allowed: outsideOr("internal/clock"), instead: "draw from the clock.Rand that was handed in"},
	{pkg: "math/rand/v2", allowed: outsideOr("internal/clock", "internal/sim"), instead: "draw from the clock.Rand that was handed in"},
	{pkg: "net/http", allowed: outsideOr("internal/network", "internal/app", "schema", "connect"), instead: "go through internal/network/httpd"},
	{pkg: "net/http/pprof", allowed: outsideOr("internal/network/httpd"), instead: "it belongs to internal/network/httpd"},
}

// checkCalls finds calls and imports outside the place that they belong to.
func checkCalls(s *source) []finding {
	var found []finding
	for _, i := range s.syntax.Imports {
		p := strings.Trim(i.Path.Value, `"`)
		for _, b := range bannedImports {
			if b.pkg == p && !b.allowed(s) {
				found = append(found, finding{kind: "import", key: s.path + ":" + p, at: s.at(i), say: p + " has no place here: " + b.instead})
			}
		}
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			found = append(found, s.checkSelector(n)...)
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Obj == nil && !s.outsideProduct() {
				switch {
				case id.Name == "panic" && !s.within("internal/invariant"):
					found = append(found, finding{kind: "panic", key: s.path, at: s.at(n), say: "panic has no place here: return an error, or say what must hold with invariant.Check"})
				case id.Name == "print", id.Name == "println":
					found = append(found, finding{kind: "call", key: s.path + ":" + id.Name, at: s.at(n), say: id.Name + " is for debugging: delete it"})
				}
			}
		case *ast.GoStmt:
			if !s.outsideProduct() && !s.within("internal/clock", "internal/network", "internal/app/cli", "cmd/moldau") {
				found = append(found, finding{kind: "go", key: s.path, at: s.at(n), say: "the go statement has no place here: run background work with the clock.Go that was handed in, so that the simulator can order it"})
			}
		}
		return true
	})
	return found
}

func (s *source) checkSelector(n *ast.SelectorExpr) []finding {
	pkg, name, ok := s.selects(n)
	if !ok {
		return nil
	}
	for _, b := range bans {
		hit := b.pkg == pkg && (slices.Contains(b.names, name) || slices.ContainsFunc(b.prefix, func(p string) bool { return strings.HasPrefix(name, p) }))
		if hit && !b.allowed(s) {
			say := n.X.(*ast.Ident).Name + "." + name
			return []finding{{kind: "call", key: s.path + ":" + say, at: s.at(n), say: say + " has no place here: " + b.instead}}
		}
	}
	return nil
}

// checkDeclarations finds init functions, variables of a package, and names that say nothing.
func checkDeclarations(s *source) []finding {
	var found []finding
	if slices.Contains([]string{"base", "common", "constants", "helper", "helpers", "misc", "pkg", "shared", "types", "util", "utils"}, s.syntax.Name.Name) {
		found = append(found, finding{kind: "name", key: s.path, at: s.path, say: "package " + s.syntax.Name.Name + " is named after nothing: name it after what it holds"})
	}
	for _, d := range s.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.Name == "init" && d.Recv == nil && !s.generated {
				found = append(found, finding{kind: "init", key: s.path, at: s.at(d), say: "init runs behind everybody's back: build the value where it is used and hand it in, or make it a table"})
			}
		case *ast.GenDecl:
			found = append(found, s.checkGeneral(d)...)
		}
	}
	return found
}

var emptyName = regexp.MustCompile(`(Manager|Helper|Helpers|Util|Utils|Impl|Factory|Provider)$|^(Abstract|Base)[A-Z]`)

func (s *source) checkGeneral(d *ast.GenDecl) []finding {
	var found []finding
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if emptyName.MatchString(spec.Name.Name) {
				found = append(found, finding{kind: "name", key: s.path + ":" + spec.Name.Name, at: s.at(spec), say: spec.Name.Name + " says what kind of thing it is and not which: name the noun that it holds or the work that it does"})
			}
		case *ast.ValueSpec:
			if d.Tok == token.VAR && !s.test && !s.generated && !embedded(d) && !s.constantEnough(spec) {
				found = append(found, finding{kind: "var", key: s.path + ":" + spec.Names[0].Name, at: s.at(spec), say: "variable " + spec.Names[0].Name + " of the package is state that everybody shares: make it a constant, a table, an error, or a field of what owns it"})
			}
		}
	}
	return found
}

func embedded(d *ast.GenDecl) bool {
	return d.Doc != nil && slices.ContainsFunc(d.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// constantEnough reports whether a variable of a package is an error, a table or a guard.
func (s *source) constantEnough(v *ast.ValueSpec) bool {
	if len(v.Values) == 0 {
		t := v.Type
		if a, ok := t.(*ast.ArrayType); ok && a.Len != nil {
			t = a.Elt
		}
		pkg, name, ok := s.selects(t)
		return ok && pkg == "sync" && (name == "Once" || name == "Pool")
	}
	for i, value := range v.Values {
		_, renamed := value.(*ast.SelectorExpr) // another package's error under a name of ours
		if v.Names[i].Name != "_" && !s.tableLike(value) && (!renamed || !errorName.MatchString(v.Names[i].Name)) {
			return false
		}
	}
	return true
}

var errorName = regexp.MustCompile(`^[eE]rr[A-Z]`)

// builders are functions whose result is a table, an error or a guard.
var builders = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "hash/crc32.MakeTable", "hash/crc64.MakeTable", "sync.OnceFunc", "sync.OnceValue", "sync.OnceValues",
	"strings.NewReplacer", "time.Unix", "encoding/base64.RawURLEncoding.WithPadding", "html/template.Must", "text/template.Must",
}

func (s *source) tableLike(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		switch e.Fun.(type) {
		case *ast.ArrayType, *ast.MapType, *ast.FuncLit: // []byte("…"), and a table that a literal function works out
			return true
		}
		pkg, name, ok := s.selects(e.Fun)
		return ok && slices.Contains(builders, pkg+"."+name)
	}
	return false
}

var (
	unfinished = regexp.MustCompile(`\b(FIX` + `ME|XX` + `X)\b`)
	later      = regexp.MustCompile(`\bTO` + `DO\b`)
	numbered   = regexp.MustCompile(`\bTO` + `DO\(#[0-9]+\)`)
)

// checkComments finds work that was left undone without a trace.
func checkComments(s *source) []finding {
	var found []finding
	for _, g := range s.syntax.Comments {
		for _, c := range g.List {
			switch {
			case unfinished.MatchString(c.Text):
				found = append(found, finding{kind: "comment", key: s.path, at: s.at(c), say: "a comment says that this is not finished: finish it before it goes in"})
			case later.MatchString(c.Text) && !numbered.MatchString(c.Text):
				found = append(found, finding{kind: "comment", key: s.path, at: s.at(c), say: "work for later needs the number of its issue, in brackets after the word, as (#12)"})
			}
		}
	}
	return found
}

func TestBans(t *testing.T) {
	var found []finding
	for _, s := range repo(t) {
		found = append(found, checkCalls(s)...)
		found = append(found, checkDeclarations(s)...)
		found = append(found, checkComments(s)...)
		found = append(found, checkPublic(s)...)
	}
	report(t, found, "import", "call", "panic", "go", "name", "init", "var", "comment", "public")
}

// checkPublic finds types of internal packages in what public packages export.
func checkPublic(s *source) []finding {
	if s.test || s.within("internal", "cmd", "test") {
		return nil
	}
	var found []finding
	look := func(what string, n ast.Node) {
		if n == nil {
			return
		}
		ast.Inspect(n, func(n ast.Node) bool {
			if _, ok := n.(*ast.BlockStmt); ok {
				return false
			}
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			if pkg, name, ok := s.selects(e); ok && strings.HasPrefix(pkg, module+"/internal/") {
				found = append(found, finding{kind: "public", key: s.path + ":" + what, at: s.at(n), say: what + " is public and names " + name + " of " + pkg + ", which callers cannot: use a type of this package"})
			}
			return true
		})
	}
	for _, d := range s.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
				look(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() {
					lookType(ts, look)
				}
			}
		}
	}
	return found
}

// lookType looks at what a type shows: its exported fields, or the whole of it when it is no struct.
func lookType(ts *ast.TypeSpec, look func(string, ast.Node)) {
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		look(ts.Name.Name, ts.Type)
		return
	}
	for _, f := range st.Fields.List {
		if len(f.Names) == 0 || slices.ContainsFunc(f.Names, (*ast.Ident).IsExported) {
			look(ts.Name.Name, f.Type)
		}
	}
}
