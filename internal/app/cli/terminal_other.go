//go:build !linux

package cli

import (
	"errors"
	"os"
)

// typedAt tells whether somebody types what is read from f.
func typedAt(f *os.File) bool {
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}

// hideInput cannot be done here.
func hideInput(*os.File) (restore func(), err error) {
	return nil, errors.New("not on this system")
}
