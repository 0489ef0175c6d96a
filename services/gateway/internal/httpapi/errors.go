package httpapi

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/sandbar-io/sandbar/pkg/sandbox"
)

// statuses is the one place where a code becomes an HTTP status.
var statuses = map[sandbox.Code]int{
	sandbox.CodeInvalid:      http.StatusBadRequest,
	sandbox.CodeUnauthorized: http.StatusUnauthorized,
	sandbox.CodeForbidden:    http.StatusForbidden,
	sandbox.CodeNotFound:     http.StatusNotFound,
	sandbox.CodeMethod:       http.StatusMethodNotAllowed,
	sandbox.CodeConflict:     http.StatusConflict,
	sandbox.CodeOvertaken:    http.StatusConflict,
	sandbox.CodeQuota:        http.StatusBadRequest, // clients look for its sentence in a 400
	sandbox.CodeRateLimited:  http.StatusTooManyRequests,
	sandbox.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	sandbox.CodeInternal:     http.StatusInternalServerError,
	sandbox.CodeNotSupported: http.StatusNotImplemented,
	sandbox.CodeUnavailable:  http.StatusServiceUnavailable,
	sandbox.CodeExpired:      http.StatusGatewayTimeout,
	sandbox.CodeTimeout:      http.StatusGatewayTimeout,
}

// problem is the body of every error. Clients of one generation read detail, of
// another error; one breaks on anything that is no object.
type problem struct {
	Detail string       `json:"detail"`
	Error  sandbox.Code `json:"error"`
	// Resource is what is full, of a key's limits.
	Resource sandbox.Resource `json:"resource,omitempty"`
}

func problemOf(err error) (int, problem) {
	p := problem{Detail: sandbox.MessageOf(err), Error: sandbox.CodeOf(err)}
	var e *sandbox.Error
	if errors.As(err, &e) {
		p.Resource = e.Resource
	}
	status, ok := statuses[p.Error]
	if !ok { // a newer provisioner's
		status = http.StatusInternalServerError
	}
	return status, p
}

// retryAfter tells when to try again, where that is known: whole seconds, at
// least one.
func retryAfter(h http.Header, err error) {
	var e *sandbox.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.RetrySeconds()))
	}
}
