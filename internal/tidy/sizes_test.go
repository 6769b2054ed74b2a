package tidy

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

// The limits. A function is measured in lines that hold code.
const (
	maxFile     = 1000
	maxFunction = 100
	maxTest     = 150
	maxMethods  = 40
	maxParams   = 6
	maxResults  = 4
)

// checkSizes finds what has grown too large in one file.
func checkSizes(s *source) []finding {
	if s.generated {
		return nil
	}
	var found []finding
	if s.lines > maxFile {
		found = append(found, finding{
			kind: "file", key: s.path, at: s.path, size: s.lines,
			say: fmt.Sprintf("the file has %d lines, the limit is %d: give one of its nouns a file of its own", s.lines, maxFile),
		})
	}
	for _, d := range s.syntax.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			found = append(found, s.checkFunction(f)...)
		}
	}
	return found
}

func (s *source) checkFunction(f *ast.FuncDecl) []finding {
	var found []finding
	key := s.path + ":" + functionName(f)
	limit, advice := maxFunction, "let it decide and leave the computing to functions that it calls"
	if s.test {
		limit, advice = maxTest, "move the history into testdata, or the cases into a table"
	}
	if n := s.codeLines(f); n > limit {
		found = append(found, finding{
			kind: "function", key: key, at: s.at(f), size: n,
			say: fmt.Sprintf("%s has %d lines of code, the limit is %d: %s", functionName(f), n, limit, advice),
		})
	}
	if s.test {
		return found
	}
	for _, c := range []struct {
		kind, what string
		fields     *ast.FieldList
		limit      int
	}{{"params", "parameters", f.Type.Params, maxParams}, {"results", "results", f.Type.Results, maxResults}} {
		if n := c.fields.NumFields(); n > c.limit {
			found = append(found, finding{
				kind: c.kind, key: key, at: s.at(f), size: n,
				say: fmt.Sprintf("%s has %d %s, the limit is %d: name what belongs together as a struct", functionName(f), n, c.what, c.limit),
			})
		}
	}
	return found
}

func (s *source) codeLines(n ast.Node) int {
	count := 0
	for line := s.fset.Position(n.Pos()).Line; line <= s.fset.Position(n.End()).Line; line++ {
		if s.coded[line] {
			count++
		}
	}
	return count
}

// functionName is the name with its receiver's type.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	return receiver(f) + "." + f.Name.Name
}

// receiver is the name of the type that a method belongs to.
func receiver(f *ast.FuncDecl) string {
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return "?"
		}
	}
}

// checkMethods finds types with too many methods.
func checkMethods(all []*source) []finding {
	count := map[string]int{}
	where := map[string]string{}
	for _, s := range all {
		if s.test || s.generated {
			continue
		}
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				key := s.dir() + "." + receiver(f)
				count[key]++
				where[key] = s.path
			}
		}
	}
	var found []finding
	for key, n := range count {
		if n > maxMethods {
			found = append(found, finding{
				kind: "methods", key: key, at: where[key], size: n,
				say: fmt.Sprintf("%s has %d methods, the limit is %d: it is several things under one name; part them", key[strings.LastIndexByte(key, '.')+1:], n, maxMethods),
			})
		}
	}
	return found
}

func TestSizes(t *testing.T) {
	var found []finding
	for _, s := range repo(t) {
		found = append(found, checkSizes(s)...)
	}
	found = append(found, checkMethods(repo(t))...)
	report(t, found, "file", "function", "params", "results", "methods")
}
