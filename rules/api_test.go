package rules

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
	"testing"
)

// What a user of a package sees must not be another project's type: its next major version would be ours, and its
// documentation would be part of ours. An adapter that is made for one SDK shows that SDK.
func TestNoForeignTypesInTheAPI(t *testing.T) {
	for _, s := range goSources(t) {
		if s.test || s.ast.Name.Name == "main" || under(s.dir, "audit/azure", "checkpoint/azprocessor", "cli/...", "interop/...") || strings.Contains("/"+s.dir+"/", "/internal/") {
			continue
		}
		foreign := map[string]string{} // by the name it has in the file
		for _, i := range s.ast.Imports {
			importPath, err := strconv.Unquote(i.Path.Value)
			if err != nil || !isForeign(importPath) {
				continue
			}
			name := path.Base(importPath)
			if i.Name != nil {
				name = i.Name.Name
			} else if all := allPackages(t); all[importPath] != nil {
				name = all[importPath].Name
			}
			foreign[name] = importPath
		}
		for _, d := range s.ast.Decls {
			for _, part := range exportedParts(d) {
				ast.Inspect(part, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := sel.X.(*ast.Ident); ok && foreign[x.Name] != "" {
							t.Errorf("%s: an exported declaration shows %s of %s: take or return a type of our own, or of the standard library",
								s.line(sel), sel.Sel.Name, foreign[x.Name])
						}
					}
					return true
				})
			}
		}
	}
}

// exportedParts returns what a declaration shows to users: signatures, exported fields, types of exported variables.
func exportedParts(d ast.Decl) []ast.Node {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
			return []ast.Node{d.Type}
		}
	case *ast.GenDecl:
		var parts []ast.Node
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() {
					parts = append(parts, exportedFields(spec.Type)...)
				}
			case *ast.ValueSpec:
				if spec.Type != nil && ast.IsExported(spec.Names[0].Name) {
					parts = append(parts, spec.Type)
				}
			}
		}
		return parts
	}
	return nil
}

func exportedFields(x ast.Expr) []ast.Node {
	s, ok := x.(*ast.StructType)
	if !ok {
		return []ast.Node{x}
	}
	var parts []ast.Node
	for _, f := range s.Fields.List {
		if len(f.Names) == 0 || f.Names[0].IsExported() {
			parts = append(parts, f.Type)
		}
	}
	return parts
}
