//go:build !linux

package clock

import "time"

// suspendedTime is not known here: time spent suspended is not counted.
func suspendedTime() (time.Duration, bool) { return 0, false }
