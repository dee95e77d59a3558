package suite

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// verdict ends a case early. It is thrown by the methods of C and caught by the runner.
type verdict struct {
	skipped bool
	text    string
}

// Fail ends the case as failed.
func (c *C) Fail(format string, args ...any) {
	panic(verdict{text: fmt.Sprintf(format, args...) + at()})
}

// Skip ends the case as skipped.
func (c *C) Skip(format string, args ...any) {
	panic(verdict{skipped: true, text: fmt.Sprintf(format, args...)})
}

// NoError fails the case on an error.
func (c *C) NoError(err error) {
	if err != nil {
		c.Fail("%v", err)
	}
}

// Equal wants a field to have a value. Numbers of different types are equal if their values are.
func (c *C) Equal(field string, got, want any) {
	if !same(got, want) {
		c.Fail("%s: got %v, want %v", field, show(got), show(want))
	}
}

// Code wants an error code; nil means no error. Field names it where an answer has several.
func (c *C) Code(got int16, want *kerr.Error, field ...string) {
	var code int16
	if want != nil {
		code = want.Code
	}
	if got != code {
		c.Fail("%s: got %s, want %s", strings.Join(append([]string{"ErrorCode"}, field...), " of "), CodeName(got), CodeName(code))
	}
}

// OK wants no error.
func (c *C) OK(got int16, field ...string) { c.Code(got, nil, field...) }

// True wants a condition to hold.
func (c *C) True(what string, holds bool, args ...any) {
	if !holds {
		c.Fail("does not hold: "+what, args...)
	}
}

// CodeName is Kafka's name of an error code.
func CodeName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	var known *kerr.Error
	if errors.As(kerr.ErrorForCode(code), &known) {
		return fmt.Sprintf("%s (%d)", known.Message, code)
	}
	return fmt.Sprint(code)
}

func same(got, want any) bool {
	a, b := reflect.ValueOf(got), reflect.ValueOf(want)
	if a.IsValid() && b.IsValid() && a.CanInt() && b.CanInt() {
		return a.Int() == b.Int()
	}
	if a.IsValid() && b.IsValid() && a.Kind() == reflect.Slice && b.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(got, want)
}

func show(v any) string {
	switch v := reflect.ValueOf(v); {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return "null"
	case v.Kind() == reflect.Pointer:
		return fmt.Sprintf("%+v", v.Elem())
	case v.Kind() == reflect.String:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%+v", v)
}

// at is the place in a case's source that failed.
func at() string {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "conformance/suite.") {
			return fmt.Sprintf(" (%s:%d)", filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return ""
		}
	}
}
