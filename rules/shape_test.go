package rules

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

func TestFileLength(t *testing.T) {
	const longest, most = 800, 500
	var lengths []int
	for _, s := range goSources(t) {
		if s.lines > longest {
			t.Errorf("%s has %d lines, more than %d: nobody reads such a file; split it by what it is about", s.path, s.lines, longest)
		}
		if !s.test {
			lengths = append(lengths, s.lines)
		}
	}
	slices.Sort(lengths)
	if p90 := lengths[len(lengths)*9/10]; p90 > most {
		t.Errorf("a tenth of the files has %d lines or more, and %d is the limit: quality shows in the tail", p90, most)
	}
}

func TestFunctionLength(t *testing.T) {
	const longest = 80
	for _, s := range goSources(t) {
		if s.test {
			continue
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				if n := s.codeLines(f.Body); n > longest {
					t.Errorf("%s: %s has %d lines, more than %d: give its steps names", s.line(f), f.Name.Name, n, longest)
				}
			}
		}
	}
}

// codeLines counts the lines inside a block that hold more than a comment.
func (s *source) codeLines(b *ast.BlockStmt) int {
	line := func(p token.Pos) int { return s.fset.Position(p).Line }
	n := line(b.Rbrace) - line(b.Lbrace) - 1
	lines := strings.Split(string(s.text), "\n")
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			if c.Pos() > b.Lbrace && c.End() < b.Rbrace && strings.HasPrefix(strings.TrimSpace(lines[line(c.Pos())-1]), "/") {
				n -= line(c.End()) - line(c.Pos()) + 1
			}
		}
	}
	return n
}

func TestInterfacesAreSmall(t *testing.T) {
	const most = 5
	declared := map[string]*ast.InterfaceType{} // by folder and name, for embedding
	for _, s := range goSources(t) {
		for name, i := range s.interfaces() {
			declared[s.dir+"."+name] = i
		}
	}
	var count func(dir string, i *ast.InterfaceType) int
	count = func(dir string, i *ast.InterfaceType) int {
		n := 0
		for _, m := range i.Methods.List {
			if len(m.Names) > 0 {
				n += len(m.Names)
			} else if id, ok := m.Type.(*ast.Ident); ok && declared[dir+"."+id.Name] != nil {
				n += count(dir, declared[dir+"."+id.Name])
			}
		}
		return n
	}
	for _, s := range goSources(t) {
		for name, i := range s.interfaces() {
			if n := count(s.dir, i); n > most && !s.test {
				t.Errorf("%s: interface %s has %d methods, more than %d: whoever implements or fakes it must do all; split it by who needs what",
					s.line(i), name, n, most)
			}
		}
	}
}

func (s *source) interfaces() map[string]*ast.InterfaceType {
	found := map[string]*ast.InterfaceType{}
	for _, d := range s.ast.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
			for _, spec := range g.Specs {
				spec := spec.(*ast.TypeSpec)
				if i, ok := spec.Type.(*ast.InterfaceType); ok {
					found[spec.Name.Name] = i
				}
			}
		}
	}
	return found
}

func TestNoInit(t *testing.T) {
	for _, s := range goSources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init() acts in every program that imports the package, asked or not: make it a function that somebody calls", s.line(f))
			}
		}
	}
}

func TestNoCgo(t *testing.T) {
	for _, s := range goSources(t) {
		for _, i := range s.ast.Imports {
			if i.Path.Value == `"C"` {
				t.Errorf("%s imports C: hubferry is one static binary, built with CGO_ENABLED=0 for any machine", s.line(i))
			}
		}
	}
}

func TestPackageNames(t *testing.T) {
	empty := strings.Fields("util utils common helper helpers misc shared types models impl base lib pkg core")
	for _, s := range goSources(t) {
		if name := strings.TrimSuffix(s.ast.Name.Name, "_test"); slices.Contains(empty, name) {
			t.Errorf("%s: package %s says nothing about what is in it, so everything ends up there: name it after what it does", s.path, name)
		} else if name != strings.ToLower(name) || strings.Contains(name, "_") {
			t.Errorf("%s: package %s: package names are lower case, one word", s.path, name)
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range goSources(t) {
		if !s.test {
			documented[s.dir] = documented[s.dir] || s.ast.Doc != nil
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment: say what it is for, which call one wants, and what it does not do", dir)
		}
	}
}

func TestEveryExportedNameHasAComment(t *testing.T) {
	for _, s := range goSources(t) {
		if s.test || s.ast.Name.Name == "main" {
			continue
		}
		missing := func(n ast.Node, name string) {
			t.Errorf("%s: %s is exported and has no comment: say what its user must know (concurrency, ownership, errors, waiting, units)",
				s.line(n), name)
		}
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				known := d.Recv != nil && slices.Contains(standardMethods, d.Name.Name)
				if d.Name.IsExported() && d.Doc == nil && !known && (d.Recv == nil || ast.IsExported(receiver(d))) {
					missing(d, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if name, ok := undocumented(d, spec); ok {
						missing(spec, name)
					}
				}
			}
		}
	}
}

// standardMethods say by their name alone what they do: the contract is the standard library's.
var standardMethods = []string{"Error", "Unwrap", "String", "Len", "Less", "Swap"}

// undocumented returns an exported name that is declared without a comment. A comment on a group of constants or
// variables, or behind one, is enough; each type needs its own.
func undocumented(d *ast.GenDecl, spec ast.Spec) (string, bool) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		bare := spec.Doc == nil && (d.Lparen.IsValid() || d.Doc == nil)
		return spec.Name.Name, spec.Name.IsExported() && bare
	case *ast.ValueSpec:
		if spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
			for _, n := range spec.Names {
				if n.IsExported() {
					return n.Name, true
				}
			}
		}
	}
	return "", false
}

// receiver returns the name of a method's type, without pointer and type parameters.
func receiver(f *ast.FuncDecl) string {
	x := f.Recv.List[0].Type
	for {
		switch y := x.(type) {
		case *ast.StarExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.IndexListExpr:
			x = y.X
		case *ast.Ident:
			return y.Name
		default:
			return ""
		}
	}
}
