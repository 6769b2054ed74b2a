package edge

import (
	"io"

	"golang.org/x/sys/unix"
)

// dryError says that nothing has come yet. It is temporary, so that TLS goes on later where it was.
type dryError struct{}

func (dryError) Error() string   { return "nothing has come yet" }
func (dryError) Timeout() bool   { return false }
func (dryError) Temporary() bool { return true }

// Read is what TLS reads from: it waits during the handshake, and not after it.
func (b *below) Read(p []byte) (int, error) {
	b.room = max(b.room, len(p))
	if !b.asked {
		return b.await(p)
	}
	for {
		n, err := unix.Read(int(b.fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, dryError{}
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// readSecure is readSome over TLS.
func (in *reader) readSecure(fd uintptr) bool {
	c := in.conn
	space := in.space()
	c.below.fd, c.below.asked = fd, true
	n, err := c.tls.Read(space)
	c.below.asked = false
	_, dry := err.(dryError)
	switch {
	case n > 0:
		in.took(n, len(space))
	case c.below.deaf.Load():
		in.err = deafness()
	case dry && in.now:
		in.dry = true
	case dry:
		in.rest()
		return false
	default:
		in.err = err
	}
	return true
}

// awaitFirst waits for the peer's first byte, so that a silent peer holds no place among the handshakes.
func (b *below) awaitFirst() error {
	if b.raw == nil {
		return nil
	}
	var first [1]byte
	var failed error
	err := b.raw.Read(func(fd uintptr) bool {
		for {
			_, _, err := unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK)
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				return false
			}
			failed = err
			return true
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// push sends what is kept: all of it, or without wait what the socket takes at once. The caller holds mu.
func (b *below) push(wait bool) error {
	var failed error
	err := b.raw.Write(func(fd uintptr) bool {
		for b.at < b.to {
			n, err := unix.SendmsgN(int(fd), b.out.data[b.at:b.to], nil, nil, unix.MSG_NOSIGNAL)
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return !wait
			case err != nil:
				failed = err
				return true
			}
			b.at += n
			b.conn.wroteTick.Store(b.conn.server.tick.Load())
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}
