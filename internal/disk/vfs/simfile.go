package vfs

import (
	"io"
	"io/fs"
	"syscall"
)

// simFile is a handle on a simulated file. Faults know it by the path it was opened with.
type simFile struct {
	mount
	node     *node
	path     string
	writable bool
	closed   bool // guarded by Sim.mu
}

// begin starts an operation on the handle; the caller defers what it returns.
func (f *simFile) begin(op *Op, err *error) func() {
	op.Path = f.path
	return f.sim.enter(op, err)
}

// admit checks the handle before the disk is asked.
func (f *simFile) admit(op *Op) error {
	if f.life == f.sim.life {
		if f.closed {
			return fs.ErrClosed
		}
		if !f.writable && op.Kind&(OpWrite|OpPreallocate|OpTruncate) != 0 {
			return syscall.EBADF
		}
		if op.Off < 0 || op.Len < 0 {
			return syscall.EINVAL
		}
	}
	return f.mount.admit(op)
}

// ReadAt fills p from off; short reads at the end give io.EOF.
func (f *simFile) ReadAt(p []byte, off int64) (n int, err error) {
	op := Op{Kind: OpRead, Off: off, Len: int64(len(p))}
	var failed error
	defer f.begin(&op, &failed)()
	if failed = f.admit(&op); failed != nil {
		return 0, failed
	}
	size := f.node.pages.size
	if off >= size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n = int(min(int64(len(p)), size-off))
	f.node.pages.read(p[:n], off)
	f.sim.rot(&op, p[:n])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ReadCold is ReadAt: there is no page cache to spare.
func (f *simFile) ReadCold(p []byte, off int64) (int, error) { return f.ReadAt(p, off) }

// WriteAt writes p at off, growing the file.
func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.WriteBuffers([][]byte{p}, off)
	return int(n), err
}

// WriteBuffers writes the buffers one after the other at off, as one operation.
// When it fails, some part from the front may have been written, as on Linux.
func (f *simFile) WriteBuffers(bufs [][]byte, off int64) (n int64, err error) {
	op := Op{Kind: OpWrite, Off: off}
	for _, b := range bufs {
		op.Len += int64(len(b))
	}
	defer f.begin(&op, &err)()
	err = f.admit(&op)
	if op.Len == 0 {
		return 0, err
	}
	until := off + op.Len
	if err != nil {
		if !op.partial {
			return 0, err
		}
		until = off + f.sim.chance.below(op.Len+1)
	}
	until, took := f.node.pages.allocate(off, until, f.sim.config.TotalBytes-f.sim.used)
	f.sim.used += took
	if err == nil && until < off+op.Len {
		err = ErrNoSpace
	}
	d := f.sim.dice()
	for _, b := range bufs {
		b = b[:min(int64(len(b)), until-off-n)]
		if len(b) > 0 {
			f.node.pages.write(b, off+n, d)
			n += int64(len(b))
		}
	}
	f.node.modMs = f.sim.nowMs()
	return n, err
}

// Sync makes all that was written durable, with the size. When a fault makes it
// fail, what was not durable never will be, and later calls succeed all the same.
func (f *simFile) Sync() (err error) {
	op := Op{Kind: OpSync}
	defer f.begin(&op, &err)()
	if err := f.admit(&op); err != nil {
		if op.partial && !f.sim.dead {
			f.node.pages.syncFailed(f.sim.dice())
		}
		return err
	}
	f.node.pages.sync()
	return nil
}

// Preallocate reserves the bytes [off, off+n); the size grows.
func (f *simFile) Preallocate(off, n int64) (err error) {
	op := Op{Kind: OpPreallocate, Off: off, Len: n}
	defer f.begin(&op, &err)()
	if err := f.admit(&op); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	free := f.sim.config.TotalBytes - f.sim.used
	if f.node.pages.missing(off, off+n) > free {
		return ErrNoSpace
	}
	_, took := f.node.pages.allocate(off, off+n, free)
	f.sim.used += took
	f.node.pages.size = max(f.node.pages.size, off+n)
	f.node.modMs = f.sim.nowMs()
	return nil
}

// Truncate sets the size.
func (f *simFile) Truncate(size int64) (err error) {
	op := Op{Kind: OpTruncate, Off: size}
	defer f.begin(&op, &err)()
	if err := f.admit(&op); err != nil {
		return err
	}
	f.sim.used -= f.node.pages.truncate(size, f.sim.dice())
	f.node.modMs = f.sim.nowMs()
	return nil
}

// Size is the present size.
func (f *simFile) Size() (size int64, err error) {
	op := Op{Kind: OpStat}
	defer f.begin(&op, &err)()
	if err := f.admit(&op); err != nil {
		return 0, err
	}
	return f.node.pages.size, nil
}

// Descriptor has nothing to give.
func (f *simFile) Descriptor() (fd uintptr, ok bool) { return 0, false }

// Close releases the file. A handle from before a crash answers what ended it.
func (f *simFile) Close() error {
	f.sim.mu.Lock()
	defer f.sim.mu.Unlock()
	if f.closed {
		return f.named(fs.ErrClosed)
	}
	f.closed = true
	if f.life != f.sim.life {
		return f.named(f.sim.ended)
	}
	f.node.opens--
	if f.node.opens == 0 && f.node.unlinked {
		f.sim.used -= f.node.pages.allocated
	}
	return nil
}

func (f *simFile) named(err error) error {
	return &fs.PathError{Op: "close", Path: f.path, Err: err}
}
