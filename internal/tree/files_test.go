package tree

import (
	"bytes"
	"go/ast"
	"go/format"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	fileLinesMax     = 600
	testLinesMax     = 800
	functionLinesMax = 75
	medianLinesMax   = 10
)

// longExcepted are files and functions that may be longer, each with its reason.
var longExcepted = map[string]string{
	"sim/network/network.go": "the simulated network and its fault model in one piece",
}

// Each package says once, in one place, what it owns and what it may call.
func TestOnePackageComment(t *testing.T) {
	comments, packages := map[string][]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		packages[s.dir] = true
		if s.file.Doc != nil {
			comments[s.dir] = append(comments[s.dir], path.Base(s.path))
		}
	}
	for dir := range packages {
		if len(comments[dir]) != 1 {
			t.Errorf("%s has package comments in %d files %v, not one", dir, len(comments[dir]), comments[dir])
		}
	}
}

// The source is formatted (make fmt).
func TestSourceIsFormatted(t *testing.T) {
	for _, s := range sources(t) {
		text, err := os.ReadFile(path.Join(root, s.path))
		if err != nil {
			t.Fatal(err)
		}
		if formatted, err := format.Source(text); err != nil || !bytes.Equal(formatted, text) {
			t.Errorf("%s is not formatted: run make fmt", s.path)
		}
	}
}

// Folders are named for what they hold.
func TestNoFolderForAnything(t *testing.T) {
	for _, s := range sources(t) {
		switch path.Base(s.dir) {
		case "util", "utils", "common", "helper", "helpers", "misc", "shared":
			t.Errorf("%s: a folder needs a name that says what it holds", s.path)
		}
	}
}

// Short files and functions are read; long ones are searched.
func TestNothingIsLong(t *testing.T) {
	var lengths []int
	for _, s := range sources(t) {
		most := fileLinesMax
		if s.test {
			most = testLinesMax
		}
		if lines := s.set.File(s.file.Pos()).LineCount(); lines > most && longExcepted[s.path] == "" {
			t.Errorf("%s has %d lines, more than %d", s.path, lines, most)
		}
		for _, declaration := range s.file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			lines := s.set.Position(f.End()).Line - s.line(f) + 1
			if !s.test {
				lengths = append(lengths, lines)
			}
			if name := s.path + " " + f.Name.Name; lines > functionLinesMax && longExcepted[name] == "" && !isTable(f) {
				t.Errorf("%s:%d: %s has %d lines, more than %d", s.path, s.line(f), f.Name.Name, lines, functionLinesMax)
			}
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > medianLinesMax {
		t.Errorf("the median function has %d lines, more than %d", median, medianLinesMax)
	}
}

// isTable says that a function's body is one statement, such as a long composite literal.
func isTable(f *ast.FuncDecl) bool { return len(f.Body.List) <= 2 }

// A test that sleeps is slow when the machine is fast and wrong when it is slow.
func TestNoSleepInTests(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if name := selector(n); name == "time.Sleep" {
				t.Errorf("%s:%d sleeps; wait for what it waits for", s.path, s.line(n))
			}
			return true
		})
	}
}

// A skipped test says what is missing.
func TestNoSkipWithoutReason(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := selector(call.Fun)
			if strings.HasSuffix(name, ".SkipNow") || strings.HasSuffix(name, ".Skip") && isTesting(name) && len(call.Args) == 0 {
				t.Errorf("%s:%d skips without a reason", s.path, s.line(n))
			}
			return true
		})
	}
}

func isTesting(name string) bool {
	return strings.HasPrefix(name, "t.") || strings.HasPrefix(name, "b.") || strings.HasPrefix(name, "f.") || strings.HasPrefix(name, "tb.")
}

func selector(n ast.Node) string {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := s.X.(*ast.Ident); ok {
		return x.Name + "." + s.Sel.Name
	}
	return ""
}

// What is to be done stands in the issue tracker, not in the code.
func TestNoLeftovers(t *testing.T) {
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, mark := range marks {
				if strings.Contains(group.Text(), mark) {
					t.Errorf("%s:%d: %s in a comment", s.path, s.line(group), mark)
				}
			}
		}
	}
}

// The licence is the one that the README names.
func TestLicence(t *testing.T) {
	text, err := os.ReadFile(root + "/LICENSE")
	if err != nil || !strings.Contains(string(text), "Apache License") || !strings.Contains(string(text), "Version 2.0") {
		t.Errorf("LICENSE is not the Apache License 2.0: %v", err)
	}
}
