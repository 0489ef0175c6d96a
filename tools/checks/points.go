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
// failpoint.Hit and failpoint.After. Of a name that is put together it is the part
// that stands in the source.
func Points(name string, src any) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []string
	walkCalls(file, false, func(call *ast.CallExpr, on, method string, _ bool) {
		if on != "failpoint" || method != "Hit" && method != "After" || len(call.Args) < 2 {
			return
		}
		point := call.Args[1]
		if sum, ok := point.(*ast.BinaryExpr); ok {
			point = sum.X
		}
		text := ""
		if literal, ok := point.(*ast.BasicLit); ok {
			text, err = strconv.Unquote(literal.Value)
		}
		if !strings.Contains(text, "/") && err == nil {
			err = fmt.Errorf("%s: a failpoint's name begins with a word in quotes: service/what", name)
		}
		out = append(out, text)
	})
	slices.Sort(out)
	return slices.Compact(out), err
}
