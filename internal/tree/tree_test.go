package tree

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

// source is one Go file of the repository.
type source struct {
	path string // from the root, with slashes
	dir  string
	test bool
	set  *token.FileSet
	file *ast.File
}

func (s *source) line(n ast.Node) int { return s.set.Position(n.Pos()).Line }

// sources parses every Go file of the main module.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(name, root), string(filepath.Separator)))
		if entry.IsDir() {
			return walkInto(relative, entry.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, &source{path: relative, dir: path.Dir(relative), test: strings.HasSuffix(name, "_test.go"), set: set, file: file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d Go files only: the walk is broken", len(all))
	}
	return all
}

// walkInto skips what is no source, and folders that are modules of their own.
func walkInto(relative, name string) error {
	if relative == "" {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || name == "data" || name == "bin" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(root, relative, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}
