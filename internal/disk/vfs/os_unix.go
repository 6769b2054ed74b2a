//go:build linux || darwin || freebsd

package vfs

import (
	"errors"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the POSIX lock on the whole file without waiting.
func lockFile(f *os.File) error {
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &whole)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN || err == unix.EACCES:
			return ErrLocked
		default:
			return err
		}
	}
}

func space(path string) (total, free int64, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Statfs(path, &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), nil
}

// MaxOpenFiles is how many files and connections this process may have open together; 0 where that is not known.
func MaxOpenFiles() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(min(uint64(l.Cur), math.MaxInt))
}

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
