package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// reserve: the caller writes zeros.
func reserve(_ uintptr, _, _ int64) error { return errors.ErrUnsupported }

func syncData(f *os.File, _ uintptr) error { return f.Sync() }

// syncDir has nothing to do: NTFS journals names by itself and directories cannot be flushed.
func syncDir(dir string) error {
	_, err := os.Stat(dir)
	return err
}

// lockFile locks the range that Java's FileChannel.tryLock locks, without waiting.
func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, ^uint32(0), ^uint32(0)>>1, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}

func space(path string) (total, free int64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var mine, all, unused uint64
	if err := windows.GetDiskFreeSpaceEx(name, &mine, &all, &unused); err != nil {
		return 0, 0, err
	}
	return int64(all), int64(mine), nil
}

// MaxOpenFiles is how many files and connections this process may have open together; 0 where that is not known.
func MaxOpenFiles() int { return 0 }

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
