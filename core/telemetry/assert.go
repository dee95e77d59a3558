package telemetry

import "fmt"

// InvariantViolation is what [Assert] panics with: an invariant of the design,
// by its number (I1 to I12), was found broken.
type InvariantViolation struct {
	Number  int
	Message string
}

func (v *InvariantViolation) Error() string {
	return fmt.Sprintf("invariant I%d is broken: %s", v.Number, v.Message)
}

// Assert panics with an *InvariantViolation unless ok. The arguments are
// formatted only then; a caller on a hot path tests first and calls only to fail,
// since boxing them costs an allocation each.
func Assert(invariant int, ok bool, format string, args ...any) {
	if !ok {
		panic(&InvariantViolation{Number: invariant, Message: fmt.Sprintf(format, args...)})
	}
}
