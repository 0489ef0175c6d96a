package sandbox

import (
	"errors"
	"fmt"
	"time"
)

// Code is one of the closed set of errors that a caller can be told. Each edge
// maps it with one table: to an HTTP status, to a bus reply, from Kubernetes.
type Code string

// The codes.
const (
	CodeInvalid      Code = "invalid"        // what was sent is wrong; the message names the field
	CodeUnauthorized Code = "unauthorized"   // no key, or a wrong one
	CodeForbidden    Code = "forbidden"      // a policy of the server or of the cluster refuses it
	CodeNotFound     Code = "not_found"      // no such sandbox for this tenant
	CodeConflict     Code = "conflict"       // the sandbox is in a state that does not allow it
	CodeOvertaken    Code = "overtaken"      // a later command was accepted first
	CodeQuota        Code = "quota_exceeded" // the key, the tenant or the namespace has no room
	CodeRateLimited  Code = "rate_limited"   // too many starts in a minute; RetryAfter says when
	CodeTooLarge     Code = "too_large"      // body, variable or record over its limit
	CodeExpired      Code = "expired"        // its deadline passed before anything was done
	CodeTimeout      Code = "timeout"        // no answer in time; what happened is unknown
	CodeUnavailable  Code = "unavailable"    // a dependency does not answer; try again
	CodeNotSupported Code = "not_supported"  // known, and not offered by this server
	CodeMethod       Code = "method_not_allowed"
	CodeInternal     Code = "internal"
)

// Error is what a caller is told. Message is safe to show; Err is for the log
// and never leaves the process.
type Error struct {
	Code    Code
	Message string
	Err     error

	Resource   Resource      // what is full, of a quota; "" elsewhere
	RetryAfter time.Duration // when trying again can help; 0: nobody knows
}

// Resource is what limits bound, by the name that they have in a keys file.
type Resource string

// The resources.
const (
	ResourceSandboxes Resource = "sandboxes"
	ResourceCPU       Resource = "cpu"
	ResourceMemory    Resource = "memory"
	ResourceStarts    Resource = "starts_per_minute"
)

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// RetrySeconds is RetryAfter in whole seconds, rounded up; 0: nobody knows.
func (e *Error) RetrySeconds() int { return int((e.RetryAfter + time.Second - 1) / time.Second) }

// Errorf makes an Error without an inner one.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error around err, whose text the caller does not see.
func Wrap(err error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// CodeOf is the code of err: CodeInternal for an error that carries none, ""
// for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// MessageOf is what a caller may be told of err.
func MessageOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Message
	}
	return "internal error"
}
