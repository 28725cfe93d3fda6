package rules

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	root   = ".."
	module = "github.com/hubferry/hubferry"
)

// skipped are folders that hold what was installed or built, not what was written. Hidden ones are skipped as well,
// except .ci.
var skipped = map[string]bool{"bin": true, "dist": true, "node_modules": true, "target": true, "__pycache__": true}

// files are all files of the repository, slash-separated and relative to its root.
var files = sync.OnceValues(func() ([]string, error) {
	var list []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (skipped[d.Name()] || d.Name() != ".ci" && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.Type().IsRegular():
			rel, err := filepath.Rel(root, name)
			list = append(list, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	return list, err
})

// source is a parsed Go file.
type source struct {
	path  string
	dir   string // of path; "." is the contract
	test  bool
	text  []byte
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// line returns "path:line" of a node.
func (s *source) line(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	p.Filename = s.path
	p.Column = 0
	return p.String()
}

var sources = sync.OnceValues(func() ([]*source, error) {
	list, err := files()
	if err != nil {
		return nil, err
	}
	var parsed []*source
	for _, name := range list {
		if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		s := &source{
			path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			text: text, lines: bytes.Count(text, []byte("\n")), fset: token.NewFileSet(),
		}
		if s.ast, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		parsed = append(parsed, s)
	}
	return parsed, nil
})

func goSources(t *testing.T) []*source {
	t.Helper()
	list, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// texts returns the files with one of the extensions (or full names), with their contents.
func texts(t *testing.T, kinds ...string) map[string]string {
	t.Helper()
	list, err := files()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, name := range list {
		for _, kind := range kinds {
			if name == kind || strings.HasPrefix(kind, ".") && path.Ext(name) == kind {
				found[name] = read(t, name)
			}
		}
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Name       string
	Standard   bool
	Imports    []string
	Deps       []string
}

// dir returns the folder of one of our packages, "." for the contract.
func (p *pkg) dir() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// packages are ours and all that they need, by import path.
var packages = sync.OnceValues(func() (map[string]*pkg, error) {
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Standard,Imports,Deps", "./...")
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, err
	}
	found := map[string]*pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		p := new(pkg)
		if err := d.Decode(p); err != nil {
			return nil, err
		}
		found[p.ImportPath] = p
	}
	return found, nil
})

func isOurs(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// isForeign reports whether a package is neither ours nor in the standard library, whose paths have no dot in their
// first element.
func isForeign(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".") && !isOurs(importPath)
}

// under reports whether a folder is one of the patterns: a folder, or a folder with /... for all below it too.
func under(dir string, patterns ...string) bool {
	for _, p := range patterns {
		base, tree := strings.CutSuffix(p, "/...")
		if dir == base || tree && strings.HasPrefix(dir, base+"/") {
			return true
		}
	}
	return false
}
