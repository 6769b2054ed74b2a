package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// retry calls f until no signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// readCold reads with RWF_DONTCACHE (Linux 6.14), which leaves pages that others
// brought into the cache alone; where that is refused, it reads and then drops the range.
func (f *osFile) readCold(p []byte, off int64) (int, error) {
	if f.os.noDontCache.Load() {
		return f.readDropping(p, off)
	}
	read := 0
	for read < len(p) {
		n, err := unix.Preadv2(int(f.fd), [][]byte{p[read:]}, off+int64(read), unix.RWF_DONTCACHE)
		switch {
		case err == unix.EINTR:
		case err == unix.EOPNOTSUPP || err == unix.ENOSYS || (err == unix.EINVAL && read == 0 && off >= 0):
			f.os.noDontCache.Store(true)
			n, err := f.readDropping(p[read:], off+int64(read))
			return read + n, err
		case err != nil:
			return read, f.failed("read", err)
		case n == 0:
			return read, io.EOF
		default:
			read += n
		}
	}
	return read, nil
}

// readDropping reads and asks the kernel to forget the pages. The advice may be
// ignored: it costs speed, never correctness.
func (f *osFile) readDropping(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	if n > 0 {
		_ = unix.Fadvise(int(f.fd), off, int64(n), unix.FADV_DONTNEED)
	}
	if err != nil && err != io.EOF {
		err = known(err)
	}
	return n, err
}

// writeBuffers is pwritev until all is written.
func (f *osFile) writeBuffers(bufs [][]byte, off int64) (int64, error) {
	var written int64
	if len(bufs) == 1 {
		return f.writeOne(bufs[0], off)
	}
	for len(bufs) > 0 {
		batch := bufs[:min(len(bufs), maxBuffers)]
		n, err := unix.Pwritev(int(f.fd), batch, off+written)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return written, f.failed("write", err)
		}
		written += int64(n)
		done, inside := skip(batch, n)
		bufs = bufs[done:]
		if inside > 0 || done == 0 {
			// The kernel stopped short of a buffer's end: finish that one alone, so that bufs stays unchanged.
			m, err := f.file.WriteAt(bufs[0][inside:], off+written)
			written += int64(m)
			if err != nil {
				return written, f.failed("write", err)
			}
			bufs = bufs[1:]
		}
	}
	return written, nil
}

// writeOne is writeBuffers for one buffer, which a plainer call takes.
func (f *osFile) writeOne(b []byte, off int64) (int64, error) {
	written := 0
	for written < len(b) {
		n, err := unix.Pwrite(int(f.fd), b[written:], off+int64(written))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return int64(written), f.failed("write", err)
		}
		written += n
	}
	return int64(written), nil
}

// skip tells how many buffers the first n bytes fill, and how many of them are
// in the one behind those.
func skip(bufs [][]byte, n int) (done, inside int) {
	for done < len(bufs) && n >= len(bufs[done]) {
		n -= len(bufs[done])
		done++
	}
	return done, n
}

// syncData is fdatasync: the data, and of the metadata what reading it needs.
func syncData(_ *os.File, fd uintptr) error {
	return retry(func() error { return unix.Fdatasync(int(fd)) })
}

// reserve is fallocate, which grows the size.
func reserve(fd uintptr, off, n int64) error {
	if n == 0 {
		return nil
	}
	return retry(func() error { return unix.Fallocate(int(fd), 0, off, n) })
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
