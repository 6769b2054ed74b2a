package edge

import (
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawOf gives the descriptor access that the fast path needs.
func rawOf(socket net.Conn) syscall.RawConn {
	t, ok := socket.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readSome is one attempt to read, made when the socket may be readable. It
// returns false to wait for that.
func (in *reader) readSome(fd uintptr) bool {
	space := in.space()
	for {
		n, err := unix.Read(int(fd), space)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN && in.now:
			in.dry = true
		case err == unix.EAGAIN:
			in.rest()
			return false
		case err != nil:
			in.err = err
		case n == 0:
			in.err = io.EOF
		default:
			in.took(n, len(space))
		}
		return true
	}
}

// plain is what a writer needs for system calls of its own.
type plain struct {
	attempt func(fd uintptr) bool // w.try, bound once
	iovecs  []unix.Iovec
	msg     unix.Msghdr
}

func (w *writer) bind() { w.attempt = w.try }

// sendRaw lets try work on the descriptor until all is sent, or it would block
// and must not.
func (w *writer) sendRaw() progress {
	w.state = finished
	if err := w.conn.raw.Write(w.attempt); err != nil {
		w.err = err
		return failed
	}
	return w.state
}

// try sends as much as the socket takes. It returns false to wait until the
// socket takes more.
//
// The end of a file region waits for the few bytes behind it: sendfile would send it at once, and wake the peer once more.
func (w *writer) try(fd uintptr) bool {
	corked := false
	defer func() {
		if corked {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 0) //nolint:errcheck // fails only on a broken socket
		}
	}()
	for w.first < len(w.segs) {
		var n int
		var err error
		if s := &w.segs[w.first]; s.file != nil {
			if !corked && w.first+1 < len(w.segs) {
				corked = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) == nil
			}
			n, err = w.sendFile(int(fd), s)
		} else {
			n, err = w.sendMemory(int(fd))
		}
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if w.block {
				return false
			}
			w.state = blocked
			return true
		case err != nil:
			w.err = err
			return true
		default:
			w.sent(n)
		}
	}
	w.state = finished
	return true
}

// sendMemory sends the memory up to the next file region in one call, and tells
// the kernel when a file region follows, so that they share packets.
func (w *writer) sendMemory(fd int) (int, error) {
	w.iovecs = w.iovecs[:0]
	i, flags := w.first, unix.MSG_NOSIGNAL
	for ; i < len(w.segs); i++ {
		s := &w.segs[i]
		if s.file != nil {
			flags |= unix.MSG_MORE
			break
		}
		v := unix.Iovec{Base: unsafe.SliceData(s.mem)}
		v.SetLen(len(s.mem))
		w.iovecs = append(w.iovecs, v)
	}
	w.msg = unix.Msghdr{Iov: unsafe.SliceData(w.iovecs)}
	w.msg.SetIovlen(len(w.iovecs))
	r, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.msg)), uintptr(flags))
	clear(w.iovecs)
	w.msg.Iov = nil
	if errno != 0 {
		return 0, errno
	}
	for n := int(r); n > 0; {
		s := &w.segs[w.first]
		if n < len(s.mem) {
			s.mem = s.mem[n:]
			break
		}
		n -= len(s.mem)
		w.first++
	}
	return int(r), nil
}

// sendFile sends a file region, or a piece of it, from an explicit offset: the
// descriptor is shared, its own position is never used. A file that sendfile
// cannot serve is copied piece by piece.
func (w *writer) sendFile(fd int, s *segment) (int, error) {
	if s.fd >= 0 {
		off := s.off
		n, err := unix.Sendfile(fd, s.fd, &off, min(s.n, maxSendfile))
		switch {
		case err == nil && n == 0:
			return 0, shortFile(s.off, s.n, nil)
		case err == nil:
			s.off, s.n = s.off+int64(n), s.n-n
			if s.n == 0 {
				w.first++
			}
			return n, nil
		case !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP):
			return 0, err
		}
		s.fd = -1
	}
	return w.sendCopied(fd, s)
}

// sendCopied is sendFile without sendfile: one read and one write.
func (w *writer) sendCopied(fd int, s *segment) (int, error) {
	b := w.conn.pools.buffer(copyChunk)
	defer b.Release()
	part := b.data[:min(s.n, len(b.data))]
	if n, err := s.file.ReadAt(part, s.off); n < len(part) {
		return 0, shortFile(s.off, s.n, err)
	}
	n, err := unix.SendmsgN(fd, part, nil, nil, unix.MSG_NOSIGNAL)
	if err != nil {
		return 0, err
	}
	s.off, s.n = s.off+int64(n), s.n-n
	if s.n == 0 {
		w.first++
	}
	return n, nil
}

// setBuffers asks for socket buffers before the listener or connection is used.
func setBuffers(fd uintptr, send, receive int) error {
	if send > 0 {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, send); err != nil {
			return err
		}
	}
	if receive > 0 {
		return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
	}
	return nil
}

// hungUpOn says that the peer has sent its last byte and all are read, or that the connection is broken. It does not wait.
func hungUpOn(raw syscall.RawConn) bool {
	gone := false
	err := raw.Control(func(fd uintptr) {
		var next [1]byte
		n, _, err := unix.Recvfrom(int(fd), next[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		gone = err == nil && n == 0 || err != nil && err != unix.EAGAIN && err != unix.EINTR
	})
	return err == nil && gone
}

// maxDiscard bounds what is read from a stranger to be thrown away.
const maxDiscard = 64 << 10

// tellStranger throws away what the peer has sent, so that the close does not
// reset the connection under the answer, and sends it. It does not wait.
func (c *Conn) tellStranger(answer string) {
	if c.raw == nil {
		return
	}
	c.raw.Control(func(fd uintptr) { //nolint:errcheck // a courtesy
		scrap := c.pools.buffer(maxDiscard)
		defer scrap.Release()
		unix.Read(int(fd), scrap.data)      //nolint:errcheck // a courtesy
		unix.Write(int(fd), []byte(answer)) //nolint:errcheck // a courtesy
	})
}
