package checks

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// Points lists the failpoints of a file, sorted and each once: what is handed to
// failpoint.Hit, HitOf and After. Of one that has a name for each of several things
// it is what they have in common.
func Points(name string, src any) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []string
	walkCalls(file, false, func(call *ast.CallExpr, on, method string, _ bool) {
		if on != "failpoint" || !slices.Contains([]string{"Hit", "HitOf", "After"}, method) || len(call.Args) < 2 {
			return
		}
		text := ""
		if literal, ok := call.Args[1].(*ast.BasicLit); ok {
			text, err = strconv.Unquote(literal.Value)
		}
		if !strings.Contains(text, "/") && err == nil {
			err = fmt.Errorf("%s: a failpoint's name is written out where it is hit: service/what", name)
		}
		out = append(out, text)
	})
	slices.Sort(out)
	return slices.Compact(out), err
}
