package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// MaxBody is the largest body that is read, in bytes: half of what the bus and a
// Secret hold.
const MaxBody = 512 << 10

// fields are the members of a body. They are decoded one by one, by their exact
// names, so that an error can name the one that is wrong; unknown ones are
// ignored.
type fields map[string]json.RawMessage

// readFields reads a body, whatever its Content-Type says. Errors never cite
// it: it holds environment values.
func readFields(c *call) (fields, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, sandbox.Errorf(sandbox.CodeTooLarge, "the body is larger than %d bytes", MaxBody)
	case err != nil:
		return nil, sandbox.Wrap(err, sandbox.CodeInvalid, "the body could not be read")
	case !utf8.Valid(body):
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "the body is not valid UTF-8")
	}
	var f fields
	if err := json.Unmarshal(body, &f); err != nil || f == nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "the body must be one JSON object")
	}
	return f, nil
}

// value is a field that is there and not null.
func (f fields) value(name string) (json.RawMessage, bool) {
	raw, ok := f[name]
	return raw, ok && string(raw) != "null"
}

// text is a string, "" where it is absent or null.
func (f fields) text(name string) (string, error) {
	raw, ok := f.value(name)
	if !ok {
		return "", nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", sandbox.Errorf(sandbox.CodeInvalid, "%s must be a string", name)
	}
	return s, nil
}

// integer is a whole number, nil where it is absent or null.
func (f fields) integer(name string) (*int64, error) {
	raw, ok := f.value(name)
	if !ok {
		return nil, nil
	}
	var n int64
	if json.Unmarshal(raw, &n) != nil {
		return nil, sandbox.Errorf(sandbox.CodeInvalid, "%s must be a whole number", name)
	}
	return &n, nil
}
