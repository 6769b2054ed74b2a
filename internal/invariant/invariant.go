// Package invariant states what must always be true.
//
// Duty: Check stops the process when the program itself is wrong, at the
// place where it went wrong and with the values that show it; carrying on
// would put damaged data behind an acknowledgement. It is never used for bad
// input or failing disks: those are errors.
package invariant

import "fmt"

// Check panics with the formatted message when ok is false. The message says
// what was expected and gives the values; it is only formatted on failure, but
// its arguments are evaluated always: keep them cheap on hot paths.
func Check(ok bool, format string, args ...any) {
	if !ok {
		fail(format, args)
	}
}

//go:noinline
func fail(format string, args []any) {
	panic("invariant broken: " + fmt.Sprintf(format, args...))
}
