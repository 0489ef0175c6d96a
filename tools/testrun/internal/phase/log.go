package phase

import (
	"os"
	"strings"
)

// tailLines of a log are shown with a failure; most say why in the last few.
const tailLines = 20

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "    " + strings.Join(all[max(0, len(all)-tailLines):], "\n    ")
}

func fileName(text string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' {
			return '-'
		}
		return r
	}, text)
}
