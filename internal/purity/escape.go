package purity

import (
	"go/ast"
	"go/token"
	"strings"
)

// escape is one escape comment.
type escape struct {
	pos    token.Pos
	kind   string // "ordered" or "pure"
	reason string
	used   bool
}

const escapeMark = "//weir:"

func (c *pass) readEscapes(file *ast.File) {
	lines := map[int]*escape{}
	c.escapes[c.Fset.Position(file.Pos()).Filename] = lines
	for _, group := range file.Comments {
		for _, comment := range group.List {
			rest, ok := strings.CutPrefix(comment.Text, escapeMark)
			if !ok {
				continue
			}
			kind, reason, _ := strings.Cut(rest, " ")
			lines[c.Fset.Position(comment.Pos()).Line] = &escape{pos: comment.Pos(), kind: kind, reason: strings.TrimSpace(reason)}
		}
	}
}

// validateEscape reports escapes that are not what they should be.
func (c *pass) validateEscape(e *escape) {
	switch {
	case e.kind != "ordered" && e.kind != "pure":
		c.Reportf(e.pos, "unknown escape weir:%s; there are weir:ordered and weir:pure", e.kind)
	case e.reason == "":
		c.Reportf(e.pos, "escape weir:%s without a reason", e.kind)
	case !e.used:
		c.Reportf(e.pos, "escape weir:%s sets nothing aside", e.kind)
	}
}

func (c *pass) impure(pos token.Pos, message string)    { c.find(pos, "pure", message) }
func (c *pass) unordered(pos token.Pos, message string) { c.find(pos, "ordered", message) }

// find reports a finding unless an escape of its kind stands on its line or the line above.
func (c *pass) find(pos token.Pos, kind, message string) {
	position := c.Fset.Position(pos)
	lines := c.escapes[position.Filename]
	for _, line := range []int{position.Line, position.Line - 1} {
		if e := lines[line]; e != nil && e.kind == kind && e.reason != "" {
			e.used = true
			return
		}
	}
	c.Reportf(pos, "%s", message)
}
