package tree

import (
	"go/ast"
	"strings"
	"testing"
)

// operations of the object store, which are billed.
var operations = map[string]bool{"env.PutObject": true, "env.GetObject": true, "env.DeleteObject": true, "env.ListObjects": true}

// Each operation of the object store says what it is for, where it is made: in a composite literal with the field For. So no
// request is on the bill without a purpose. (The simulated store refuses one whose field has the zero value.)
func TestEveryStoreOperationStatesItsPurpose(t *testing.T) {
	stated := 0
	for _, s := range sources(t) {
		if s.test || !strings.HasPrefix(s.dir, "core/") || strings.HasPrefix(s.dir, "core/env") {
			continue
		}
		fine := map[ast.Node]bool{}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field: // memory for one, which a literal fills
				fine[n.Type] = true
			case *ast.StarExpr: // a pointer to one that was made elsewhere
				fine[n.X] = true
			case *ast.CompositeLit:
				fine[n.Type] = fine[n.Type] || hasKey(n, "For")
			case *ast.SelectorExpr:
				if operations[selector(n)] && !fine[n] {
					t.Errorf("%s:%d: make it as &%s{For: env.Purpose…}, so that the bill says what it is for", s.path, s.line(n), selector(n))
				} else if operations[selector(n)] {
					stated++
				}
			}
			return true
		})
	}
	if stated < 10 {
		t.Errorf("only %d mentions of operations were looked at", stated)
	}
}

func hasKey(n *ast.CompositeLit, name string) bool {
	for _, element := range n.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == name {
				return true
			}
		}
	}
	return false
}
