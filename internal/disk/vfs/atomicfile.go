package vfs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// tmpSuffix names the file that is written before it takes the place of the
// old one; Kafka's checkpoints use the same.
const tmpSuffix = ".tmp"

// WriteFileAtomic replaces a file so that, whatever happens, path holds either
// all of the old content or all of data; after it returned nil, data is durable
// under that name. The steps: path+".tmp" is written and synced, renamed over
// path, and the directory is synced. A leftover of an earlier attempt is overwritten.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	tmp := path + tmpSuffix
	if err := writeWhole(fsys, tmp, data); err != nil {
		// On a full disk the half-written file would keep others from writing; what
		// cannot be removed is overwritten next time.
		_ = fsys.Remove(tmp)
		return fmt.Errorf("writing %s: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("making the new %s durable: %w", path, err)
	}
	return nil
}

// writeWhole makes path hold data, durably but for its name.
func writeWhole(fsys FS, path string, data []byte) (err error) {
	f, err := fsys.Edit(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Sync()
}

// ReadFile reads a whole file of at most maxBytes; a larger one is an error
// before any memory is taken for it.
func ReadFile(fsys FS, path string, maxBytes int64) (data []byte, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxBytes {
		return nil, fmt.Errorf("reading %s: it has %d bytes, at most %d are expected of such a file", path, size, maxBytes)
	}
	data = make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}
