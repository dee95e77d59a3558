// Package logging is production's env.Logger, over log/slog.
//
// A line is formatted at once, so that it shows what its values were, and put into
// a buffer of bounded size that one goroutine writes out: nobody who logs waits for
// the disk or the terminal. A line that finds the buffer full is dropped, and the
// number dropped is logged when there is room. The package may import core/env only.
package logging
