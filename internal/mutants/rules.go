package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// rule is a rule of the protocol, what breaks it on purpose, and what tells its story.
type rule struct {
	name    string   // as core/doc.go has it: "R3a"
	unbuilt bool     // core/doc.go says so
	defects []string // that name it in their heads
	stories []string // scenarios that do
}

var (
	// ruleStated is the beginning of a rule's text in core/doc.go.
	ruleStated = regexp.MustCompile(`(?m)^// (R\d+a?)( \([^)]*\))?\. ?`)
	ruleNamed  = regexp.MustCompile(`\bR\d+a?\b`)
)

// loadRules reads the rules from core/doc.go, and from the heads of defects and scenarios what each of them is about.
func loadRules(root string) ([]*rule, error) {
	text, err := os.ReadFile(filepath.Join(root, "core/doc.go"))
	if err != nil {
		return nil, err
	}
	var rules []*rule
	for _, stated := range ruleStated.FindAllStringSubmatch(string(text), -1) {
		rules = append(rules, &rule{name: stated[1], unbuilt: strings.Contains(stated[2], "not built yet")})
	}
	defects, err := named(filepath.Join(root, "sim/mutants/*.mutant"))
	if err != nil {
		return nil, err
	}
	stories, err := named(filepath.Join(root, "sim/testdata/scenarios/*.plan"))
	for _, r := range rules {
		r.defects, r.stories = defects[r.name], stories[r.name]
	}
	return rules, err
}

// named returns for each rule the files whose heads name it, in order.
func named(pattern string) (map[string][]string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	by := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		about := map[string]bool{}
		for _, name := range ruleNamed.FindAllString(head(string(text)), -1) {
			about[name] = true
		}
		for name := range maps.Keys(about) {
			by[name] = append(by[name], strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
		}
	}
	return by, nil
}

// head is the comment that a file begins with.
func head(text string) string {
	n := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		n += len(line)
	}
	return text[:n]
}

// printRules prints the table of all rules.
func printRules(w io.Writer, rules []*rule) {
	for _, r := range rules {
		fmt.Fprintf(w, "%-4s defects:   %s\n", r.name, listed(r.defects))
		fmt.Fprintf(w, "     scenarios: %s\n", listed(r.stories))
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}
