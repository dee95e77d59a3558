package kmsgnew

import (
	"go/ast"
	"go/constant"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzer reports kmsg response structs that are made without their constructor.
var Analyzer = &analysis.Analyzer{
	Name: "kmsgnew",
	Doc:  "report kmsg response structs made without their constructor, whose defaults are not zero",
	Run:  run,
}

const kmsgPath = "github.com/twmb/franz-go/pkg/kmsg"

type pass struct {
	*analysis.Pass
	// set are the types of which the present function sets whole elements of a slice, or calls Default.
	set map[types.Type]bool
}

func run(p *analysis.Pass) (any, error) {
	for _, file := range p.Files {
		for _, declaration := range file.Decls {
			c := pass{p, map[types.Type]bool{}}
			ast.Inspect(declaration, c.gather)
			ast.Inspect(declaration, c.visit)
		}
	}
	return nil, nil
}

// gather notes what the function sets.
func (c pass) gather(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, left := range n.Lhs {
			if _, ok := left.(*ast.IndexExpr); ok {
				c.note(left)
			}
		}
	case *ast.SelectorExpr:
		if n.Sel.Name == "Default" {
			c.note(n.X)
		}
	}
	return true
}

func (c pass) note(e ast.Expr) {
	t := c.TypesInfo.TypeOf(e)
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	c.set[t] = true
}

func (c pass) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		c.report(n, c.TypesInfo.TypeOf(n), "literal")
	case *ast.CallExpr:
		c.checkCall(n)
	case *ast.ValueSpec:
		if len(n.Values) == 0 && n.Type != nil {
			c.report(n, c.TypesInfo.TypeOf(n.Type), "variable without a value")
		}
	case *ast.FuncType:
		c.checkResults(n)
	}
	return true
}

// checkCall looks at new(T), and at make([]T, n) with n other than 0 in a function that neither sets whole elements nor calls
// Default.
func (c pass) checkCall(n *ast.CallExpr) {
	name, ok := ast.Unparen(n.Fun).(*ast.Ident)
	if !ok || len(n.Args) == 0 {
		return
	}
	if _, builtin := c.TypesInfo.Uses[name].(*types.Builtin); !builtin {
		return
	}
	switch name.Name {
	case "new":
		c.report(n, c.TypesInfo.TypeOf(n.Args[0]), "new")
	case "make":
		if s, ok := c.TypesInfo.TypeOf(n.Args[0]).Underlying().(*types.Slice); ok && !c.set[s.Elem()] && !c.isZero(n.Args[1]) {
			c.report(n, s.Elem(), "elements of make")
		}
	}
}

func (c pass) isZero(e ast.Expr) bool {
	value := c.TypesInfo.Types[e].Value
	return value != nil && constant.Sign(value) == 0
}

// checkResults looks at named results, which are zero until they are assigned.
func (c pass) checkResults(n *ast.FuncType) {
	if n.Results == nil {
		return
	}
	for _, field := range n.Results.List {
		if len(field.Names) > 0 && field.Names[0].Name != "_" {
			c.report(field, c.TypesInfo.TypeOf(field.Type), "named result")
		}
	}
}

func (c pass) report(n ast.Node, t types.Type, how string) {
	if name := responseName(t); name != "" {
		c.Reportf(n.Pos(), "%s of kmsg.%s: use kmsg.New%s, since its defaults are not all zero", how, name, name)
	}
}

// responseName is the name of a kmsg response struct or of one nested in it; empty for any other type.
func responseName(t types.Type) string {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != kmsgPath || !strings.Contains(named.Obj().Name(), "Response") {
		return ""
	}
	if _, ok := named.Underlying().(*types.Struct); !ok {
		return ""
	}
	return named.Obj().Name()
}
