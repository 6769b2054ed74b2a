//go:build darwin || freebsd

package vfs

import (
	"errors"
	"os"
)

// reserve: these systems reserve in other ways; the caller writes zeros.
func reserve(_ uintptr, _, _ int64) error { return errors.ErrUnsupported }

// syncData leaves it to the os package, which asks macOS for F_FULLFSYNC: its
// fsync alone stops at the drive's cache.
func syncData(f *os.File, _ uintptr) error { return f.Sync() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
