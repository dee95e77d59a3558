package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is one defect: pieces of text to replace in files.
//
// Its file begins with comment lines after #, of which one may say
// "# args: ..." for the simulator, or "# test: ..." with arguments of go test where
// tests of a package find it and no run of the simulator can. "# seeds: R9 -cluster" names the rule as
// whose breach random seeds alone are to find it, and of which swarm (-cluster, or nothing). Then, for each piece:
//
//	--- path/of/file.go
//	the text as it is, which occurs there once
//	+++
//	the text with the defect
type mutant struct {
	name   string
	args   []string
	test   []string // nil: the simulator finds it
	rule   string   // that random seeds are to find broken by it; empty: they need not
	swarm  []string // of which seeds: arguments of the simulator
	pieces []piece
}

type piece struct{ file, from, to string }

// load reads every defect of a directory, by name.
func load(dir string) (all []*mutant, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.mutant"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m, err := parse(strings.TrimSuffix(filepath.Base(file), ".mutant"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no defects in %s", dir)
	}
	return all, nil
}

func parse(name, text string) (*mutant, error) {
	m := &mutant{name: name}
	into := (*string)(nil)
	for _, line := range strings.SplitAfter(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "--- "):
			m.pieces = append(m.pieces, piece{file: strings.TrimPrefix(trimmed, "--- ")})
			into = &m.pieces[len(m.pieces)-1].from
		case trimmed == "+++" && len(m.pieces) > 0:
			into = &m.pieces[len(m.pieces)-1].to
		case into != nil:
			*into += line
		case strings.HasPrefix(line, "# args: "):
			m.args = strings.Fields(strings.TrimPrefix(trimmed, "# args: "))
		case strings.HasPrefix(line, "# test: "):
			m.test = strings.Fields(strings.TrimPrefix(trimmed, "# test: "))
		case strings.HasPrefix(line, "# seeds: "):
			said := strings.Fields(strings.TrimPrefix(trimmed, "# seeds: "))
			m.rule, m.swarm = said[0], said[1:]
		case trimmed != "" && !strings.HasPrefix(line, "#"):
			return nil, fmt.Errorf("%q before the first piece", trimmed)
		}
	}
	if len(m.pieces) == 0 {
		return nil, fmt.Errorf("nothing to replace")
	}
	if len(m.swarm) > 1 || len(m.swarm) == 1 && m.swarm[0] != "-cluster" {
		return nil, fmt.Errorf("random seeds are of the swarm or of -cluster, not of %q", m.swarm)
	}
	return m, nil
}

// plant makes the replacements under dir; restore undoes them.
func (m *mutant) plant(dir string) (restore func(), err error) {
	saved := map[string][]byte{}
	restore = func() {
		for file, data := range saved {
			_ = os.WriteFile(file, data, 0o644) // the copy is dropped in the end, and a leftover does not compile into silence: the next defect fails to plant
		}
	}
	for _, p := range m.pieces {
		file := filepath.Join(dir, p.file)
		data, err := os.ReadFile(file)
		if err == nil && strings.Count(string(data), p.from) != 1 {
			err = fmt.Errorf("%s has the text to replace %d times, not once; bring the defect up to date", p.file, strings.Count(string(data), p.from))
		}
		if err == nil {
			if saved[file] == nil {
				saved[file] = data
			}
			err = os.WriteFile(file, []byte(strings.Replace(string(data), p.from, p.to, 1)), 0o644)
		}
		if err != nil {
			restore()
			return nil, err
		}
	}
	return restore, nil
}
