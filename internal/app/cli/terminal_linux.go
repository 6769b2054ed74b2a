package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// typedAt tells whether somebody types what is read from f.
func typedAt(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hideInput keeps a terminal from showing what is typed, until restore.
func hideInput(f *os.File) (restore func(), err error) {
	old, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	hidden := *old
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &hidden); err != nil {
		return nil, err
	}
	return func() {
		unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, old) //nolint:errcheck // there is nobody to tell
	}, nil
}
