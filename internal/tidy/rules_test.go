package tidy

import (
	"go/ast"
	"go/importer"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// TestRules shows each rule what it must find and what it must leave alone: a linter that finds nothing looks like
// tidy code.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name, path, text string
		want             string // kinds found, in order
	}{
		{"the time is the clock's", "internal/node/x.go", `import "time"; func f() { time.Now(); time.Sleep(1); _ = time.Second }`, "call call"},
		{"the clock asks the time", "internal/clock/x.go", `import "time"; func f() { time.Now(); time.Sleep(1) }`, ""},
		{"tests may ask the time but not sleep", "internal/node/x_test.go", `import "time"; func f() { time.Now(); time.Sleep(1) }`, "call"},
		{"another package's name", "internal/node/x.go", `import t "time"; func f() { t.After(1) }`, "call"},
		{"a local variable of a package's name", "internal/node/x.go", `func f() { time := struct{ Now func() }{}; time.Now() }`, ""},
		{"files are vfs's", "internal/disk/journal/x.go", `import "os"; func f() { os.Open(""); os.Getenv("") }`, "call"},
		{"vfs opens files", "internal/disk/vfs/x.go", `import "os"; func f() { os.Open("") }`, ""},
		{"the command line reads files", "internal/app/cli/x.go", `import "os"; func f() { os.ReadFile("") }`, ""},
		{"sockets are network's", "internal/node/x.go", `import "net"; func f(c net.Conn) { net.Dial("", ""); net.JoinHostPort("", ""); _ = net.ListenConfig{} }`, "call call"},
		{"network opens sockets", "internal/network/edge/x.go", `import "net"; func f() { net.Listen("", "") }`, ""},
		{"printing", "internal/node/x.go", `import "fmt"; func f() { fmt.Println(); fmt.Fprintln(nil); println() }`, "call call"},
		{"an old package", "internal/node/x.go", `import "log"; import "math/rand/v2"`, "import import"},
		{"panic", "internal/node/x.go", `func f() { panic("") }`, "panic"},
		{"invariant panics", "internal/invariant/x.go", `func f() { panic("") }`, ""},
		{"goroutines", "internal/node/x.go", `func f() { go f() }`, "go"},
		{"network's goroutines", "internal/network/edge/x.go", `func f() { go f() }`, ""},
		{"tests' goroutines", "internal/node/x_test.go", `func f() { go f() }`, ""},
		{"init", "internal/node/x.go", `func init() {}; type x int; func (x) init() {}`, "init"},
		{"variables", "internal/node/x.go", `import "errors"; import "sync"; import "io"
var ErrA, errB = errors.New(""), errors.New("")
var table, list = map[int]int{1: 1}, [...]string{""}
var once sync.Once; var pools [3]sync.Pool
var _ error = nil
var ErrC = io.EOF
var text = []byte("x")
var count int
var cache = make(map[int]int)
var current = &table
var eof = io.EOF`, "var var var var"},
		{"embedded text", "internal/node/x.go", "import _ \"embed\"\n//go:embed x\nvar x string", ""},
		{"names", "internal/node/x.go", `type BatchManager int; type Management int; type BaseThing int; type Factory int; type Provided int`, "name name name"},
		{"a package named after nothing", "internal/utils/x.go", `package utils`, "name"},
		{"unfinished", "internal/node/x.go", "// TO" + "DO: later\n\n// TO" + "DO(#12): later\n\n// FIX" + "ME\n", "comment comment"},
		{"public signatures", "moldau.go", `import "github.com/moldau/moldau/internal/clock"
func Start(c clock.Clock) {}
func start(c clock.Clock) {}
type Node struct { c clock.Clock; C clock.Clock }
func (n *Node) Clock() clock.Clock { return n.c }
func (n *Node) Close() { var c clock.Clock; _ = c }`, "public public public"},
		{"a machine's imports", "internal/machine/x/x.go", `import "sync"; import "time"; import "strings"
type T struct { at time.Time }; var _ = strings.Cut; func f() time.Duration { return time.Since(time.Time{}) }`, "call pure pure"},
		{"a machine's goroutines", "internal/machine/x/x.go", `func f(c chan int) { c <- 1; <-c; select {} }`, "pure pure pure pure"},
		{"a format is no machine's clock", "internal/format/x/x.go", `import "github.com/moldau/moldau/internal/clock"
func f(c clock.World, r clock.Rand) {}`, "pure"},
		{"a shell may lock", "internal/disk/x/x.go", `import "sync"; type T struct { mu sync.Mutex }`, ""},
	} {
		text := c.text
		if !strings.HasPrefix(text, "package") {
			text = "package x\n" + text
		}
		s, err := newSource(c.path, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := kinds(slices.Concat(checkCalls(s), checkDeclarations(s), checkComments(s), checkPublic(s), checkPurity(s))); got != c.want {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}

func kinds(found []finding) string {
	var out []string
	for _, f := range found {
		out = append(out, f.kind)
	}
	return strings.Join(out, " ")
}

func TestSizeRules(t *testing.T) {
	body := strings.Repeat("\tf()\n\n\t// comment\n", maxFunction)
	methods := "type T int\n" + strings.Repeat("func (*T) m() {}\n", maxMethods+1)
	for _, c := range []struct{ name, path, text, want string }{
		{"long function", "x.go", "func f() {\n" + body + "}", "function"},
		{"not so long", "x.go", "func f() {\n" + strings.Repeat("f()\n\n", maxFunction-2) + "}", ""},
		{"a test may be longer", "x_test.go", "func f() {\n" + body + "}", ""},
		{"a test that is too long", "x_test.go", "func f() {\n" + body + body + "}", "function"},
		{"generated", "zz_generated_x.go", "func f() {\n" + body + "}", ""},
		{"long text", "x.go", "const x = `" + strings.Repeat("\n", maxFile) + "`", "file"},
		{"parameters", "x.go", "func f(a, b, c int, d, e, g, h string) {}", "params"},
		{"results", "x.go", "func f() (a, b, c, d, e int) { return }", "results"},
		{"methods", "x.go", methods, "methods"},
	} {
		s, err := newSource(c.path, []byte("package x\n"+c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := kinds(append(checkSizes(s), checkMethods([]*source{s})...)); got != c.want {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLayerRules(t *testing.T) {
	l := parseLayers(t, "@low = a b\na:\nb: a\nc: @low\n")
	checkAcyclic(t, l)
	for _, c := range []struct{ path, imports, want string }{
		{"c/x.go", `import "github.com/moldau/moldau/a"; import "github.com/moldau/moldau/b"; import "fmt"`, ""},
		{"b/x.go", `import "github.com/moldau/moldau/c"`, "b>c"},
		{"a/x_test.go", `import "github.com/moldau/moldau/a"; import "github.com/moldau/moldau"`, "a>."},
		{"d/x.go", ``, "d"},
	} {
		s, err := newSource(c.path, []byte("package x\n"+c.imports))
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, f := range checkImports(l, s) {
			keys = append(keys, f.key)
		}
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("%s: found %q, want %q", c.path, got, c.want)
		}
	}
}

func TestPackageCommentRules(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"a/x.go": "// Package a does.\npackage a", "a/y.go": "package a"}, ""},
		{map[string]string{"a/x.go": "package a"}, "doc"},
		{map[string]string{"a/x.go": "// Package a does.\npackage a", "a/y.go": "// Package a does too.\npackage a"}, "doc"},
		{map[string]string{"a/x.go": "// A does.\npackage a"}, "doc"},
		{map[string]string{"cmd/a/x.go": "// Command a does.\npackage main"}, ""},
		{map[string]string{"a/x.go": "//go:build linux\npackage a", "a/y.go": "// Package a does.\npackage a"}, ""},
	} {
		var all []*source
		for path, text := range c.files {
			s, err := newSource(path, []byte(text+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		if got := kinds(checkPackageComments(all)); got != c.want {
			t.Errorf("%v: found %q, want %q", c.files, got, c.want)
		}
	}
}

func TestMapOrderRule(t *testing.T) {
	const text = `package x
import ("maps"; "slices")
type set map[string]int
func f(m map[int]int, s set, l []int) {
	for range m {}
	for _ = range m {}
	for k := range m { _ = k }
	for _, v := range s { _ = v }
	for k := range m { _ = k } //unordered: only counted
	//unordered: the sum is the same
	for _, v := range m { _ = v }
	//unordered:
	for _, v := range m { _ = v }
	for _, v := range l { _ = v }
	for _, k := range slices.Sorted(maps.Keys(m)) { _ = k }
	_ = slices.Collect(maps.Values(m))
}
func g[M ~map[K]V, K comparable, V any](m M) { for k := range m { _ = k } }
`
	s, err := newSource("x.go", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	found := typedOrder(t, s.fset, "x", []*ast.File{s.syntax}, importer.ForCompiler(token.NewFileSet(), "source", nil))
	var lines []string
	for _, f := range found {
		lines = append(lines, strings.TrimPrefix(f.at, "x.go:"))
	}
	if got, want := strings.Join(lines, " "), "7 8 13 16 18"; got != want {
		t.Errorf("found lines %s, want %s", got, want)
	}
}

func TestListedPackages(t *testing.T) {
	got := listedPackages("`internal/no`\n| `internal/a/b/` | see `internal/c` |\n| `cmd/moldau`, `test/bench` | x |\n| `moldau.go` | |\n")
	if want := []string{"internal/a/b", "cmd/moldau", "test/bench"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
