package purity

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzer reports what makes a package impure. It looks at the files it is given, so run it without tests.
var Analyzer = &analysis.Analyzer{
	Name: "purity",
	Doc:  "report goroutines, locks, channels, time, randomness, map order, floats and other outside influence",
	Run:  run,
}

// floatPackages may use floating point. Each entry needs its reason here.
var floatPackages = map[string]string{}

// pass is one package under the analyzer.
type pass struct {
	*analysis.Pass
	escapes map[string]map[int]*escape // by file, then by line
	floats  map[string]map[int]bool    // lines already reported for floats
	sorted  map[ast.Node]bool          // map iterators whose order slices.Sorted sets
}

func run(p *analysis.Pass) (any, error) {
	c := &pass{Pass: p, escapes: map[string]map[int]*escape{}, floats: map[string]map[int]bool{}, sorted: map[ast.Node]bool{}}
	for _, file := range p.Files {
		c.readEscapes(file)
		c.checkImports(file)
		ast.Inspect(file, c.visit)
	}
	for _, lines := range c.escapes {
		for _, e := range lines {
			c.validateEscape(e)
		}
	}
	return nil, nil
}

func (c *pass) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		c.impure(n.Pos(), "go statement: the core runs on one loop")
	case *ast.SelectStmt:
		c.impure(n.Pos(), "select: its choice is random")
	case *ast.SendStmt:
		c.impure(n.Pos(), "channel send")
	case *ast.ChanType:
		c.impure(n.Pos(), "channel type: submit an operation instead")
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			c.impure(n.Pos(), "channel receive")
		}
	case *ast.RangeStmt:
		c.checkRange(n)
	case *ast.AssignStmt:
		for _, left := range n.Lhs {
			c.checkGlobal(left)
		}
	case *ast.IncDecStmt:
		c.checkGlobal(n.X)
	case *ast.CallExpr:
		c.checkCall(n)
	case *ast.SelectorExpr:
		c.checkUse(n)
	}
	if e, ok := n.(ast.Expr); ok {
		c.checkFloat(e)
	}
	return true
}

func (c *pass) checkImports(file *ast.File) {
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		if _, allowed := importsAllowedIn[c.Pkg.Path()][path]; allowed {
			continue
		}
		if why := importBanned(path); why != "" {
			c.impure(spec.Pos(), "import of "+path+": "+why)
		}
	}
}

func (c *pass) checkRange(n *ast.RangeStmt) {
	switch c.under(n.X).(type) {
	case *types.Map:
		c.unordered(n.Pos(), "range over a map: its order is random; sort the keys first")
	case *types.Chan:
		c.impure(n.Pos(), "range over a channel")
	}
}

func (c *pass) under(e ast.Expr) types.Type {
	t := c.TypesInfo.TypeOf(e)
	if t == nil {
		return nil
	}
	if p, ok := t.(*types.TypeParam); ok {
		return coreOf(p)
	}
	return t.Underlying()
}

// coreOf returns a map or channel type if any term of the constraint is one.
func coreOf(p *types.TypeParam) types.Type {
	constraint, ok := p.Constraint().Underlying().(*types.Interface)
	if !ok {
		return nil
	}
	for i := range constraint.NumEmbeddeds() {
		union, ok := constraint.EmbeddedType(i).(*types.Union)
		if !ok {
			union = types.NewUnion([]*types.Term{types.NewTerm(false, constraint.EmbeddedType(i))})
		}
		for j := range union.Len() {
			switch t := union.Term(j).Type().Underlying().(type) {
			case *types.Map, *types.Chan:
				return t
			}
		}
	}
	return nil
}

// checkCall looks at what only a call's arguments show: maps.Keys under slices.Sorted, sorts of basic elements,
// printed maps and pointers, channels made.
func (c *pass) checkCall(n *ast.CallExpr) {
	path, name := c.function(n.Fun)
	switch {
	case path == "slices" && name == "Sorted" && len(n.Args) == 1:
		if inner, ok := n.Args[0].(*ast.CallExpr); ok {
			if p, f := c.function(inner.Fun); p == "maps" && f == "Keys" {
				c.sorted[ast.Unparen(inner.Fun)] = true // keys are unique, so that any sort gives one order
			}
		}
	case path == "slices" && name == "Sort" && len(n.Args) == 1:
		if s, ok := c.under(n.Args[0]).(*types.Slice); !ok || !isBasic(s.Elem()) {
			c.unordered(n.Pos(), "slices.Sort of other than basic elements: it is not stable")
		}
	case path == "fmt":
		c.checkPrint(n)
	}
}

func (c *pass) checkPrint(n *ast.CallExpr) {
	for _, arg := range n.Args {
		if text, ok := arg.(*ast.BasicLit); ok && text.Kind == token.STRING && strings.Contains(text.Value, "%p") {
			c.impure(arg.Pos(), "%p prints an address")
		}
	}
}

func (c *pass) function(e ast.Expr) (path, name string) {
	var id *ast.Ident
	switch e := ast.Unparen(e).(type) {
	case *ast.SelectorExpr:
		id = e.Sel
	case *ast.IndexExpr:
		return c.function(e.X)
	case *ast.Ident:
		id = e
	default:
		return "", ""
	}
	object := c.TypesInfo.Uses[id]
	if object == nil || object.Pkg() == nil {
		return "", ""
	}
	return object.Pkg().Path(), object.Name()
}

// checkUse looks at every mention of another package's function, called or not.
func (c *pass) checkUse(n *ast.SelectorExpr) {
	object, ok := c.TypesInfo.Uses[n.Sel].(*types.Func)
	if !ok || object.Pkg() == nil || object.Signature().Recv() != nil || c.sorted[n] {
		c.checkMethod(n)
		return
	}
	use := object.Pkg().Path() + "." + object.Name()
	if why, banned := functionsBanned[use]; banned {
		c.impure(n.Pos(), use+": "+why)
	}
	if why, banned := ordersBanned[use]; banned {
		c.unordered(n.Pos(), use+": "+why)
	}
}

// checkMethod bans methods of reflect values that show map order or make channels.
func (c *pass) checkMethod(n *ast.SelectorExpr) {
	object, ok := c.TypesInfo.Uses[n.Sel].(*types.Func)
	if !ok || object.Pkg() == nil || object.Pkg().Path() != "reflect" {
		return
	}
	switch object.Name() {
	case "MapKeys", "MapRange", "Seq", "Seq2":
		c.unordered(n.Pos(), "reflect: "+object.Name()+" shows a map's random order")
	case "Send", "Recv", "TrySend", "TryRecv", "Pointer", "UnsafePointer", "UnsafeAddr":
		c.impure(n.Pos(), "reflect: "+object.Name())
	}
}

// checkGlobal bans assignments to package variables outside of their declaration.
func (c *pass) checkGlobal(e ast.Expr) {
	root := c.rootOf(e)
	if root == nil {
		return
	}
	v, ok := c.TypesInfo.Uses[root].(*types.Var)
	if ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
		c.impure(e.Pos(), "assignment to package variable "+v.Name()+": two nodes of one process would share it")
	}
}

// rootOf returns the variable at the root of an assignable expression; for a qualified name, the other package's.
func (c *pass) rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok {
				if _, qualified := c.TypesInfo.Uses[id].(*types.PkgName); qualified {
					return x.Sel
				}
			}
			e = x.X
		default:
			return nil
		}
	}
}

func (c *pass) checkFloat(e ast.Expr) {
	if _, allowed := floatPackages[c.Pkg.Path()]; allowed {
		return
	}
	value, ok := c.TypesInfo.Types[e]
	if !ok || value.Type == nil {
		return
	}
	basic, ok := value.Type.Underlying().(*types.Basic)
	if !ok || basic.Info()&(types.IsFloat|types.IsComplex) == 0 || basic.Info()&types.IsUntyped != 0 {
		return
	}
	position := c.Fset.Position(e.Pos())
	if c.floats[position.Filename] == nil {
		c.floats[position.Filename] = map[int]bool{}
	}
	if c.floats[position.Filename][position.Line] {
		return
	}
	c.floats[position.Filename][position.Line] = true
	c.impure(e.Pos(), "floating point: results differ between machines; use integers")
}

func isBasic(t types.Type) bool {
	_, ok := t.Underlying().(*types.Basic)
	return ok
}
