package edge

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// below is the socket under TLS. What TLS writes record by record it sends in one piece; what TLS reads it reads without
// waiting, once the handshake is over, so that the connection holds no buffer while its peer is silent.
//
// TLS also writes by itself: the answer to a change of keys while it reads, alerts, the good-bye. After the handshake these
// never wait for the peer; a writer of answers may have to go past them on a goroutine that only came to answer.
type below struct {
	net.Conn
	conn    *Conn
	raw     syscall.RawConn // nil where readiness cannot be asked
	pools   *pools
	yielded atomic.Bool // it was cut in its handshake, for others
	shaken  atomic.Bool // the handshake is over
	deaf    atomic.Bool // the peer does not take what TLS writes by itself

	// These belong to the connection's goroutine: fd is the descriptor while it reads without waiting, asked says that it
	// does, room is the most that TLS has set aside for what comes, and working says that its handshake computes.
	fd      uintptr
	asked   bool
	working bool
	room    int

	// mu guards what follows. It is held while a full buffer is sent.
	mu     sync.Mutex
	corked bool
	out    *Buffer // records that are not sent yet; nil when there are none
	at, to int     // where in out they lie
}

const (
	// corkBytes is how much of a reply is encrypted before it is sent.
	corkBytes = 128 << 10
	// maxAsides bounds what TLS has written by itself and the peer has not taken.
	maxAsides = 4 << 10
)

// deafness ends a connection whose peer does not take what TLS writes by itself.
func deafness() error {
	return refuse(WriteTooSlow, "the client has TLS answer by itself, as to a change of keys, and does not read that")
}

// Write sends a record, or keeps it while corked.
func (b *below) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.corked {
		if b.raw == nil || !b.shaken.Load() {
			defer b.away()()
			return b.Conn.Write(p)
		}
		return b.aside(p)
	}
	if b.out == nil {
		b.out, b.at, b.to = b.pools.buffer(corkBytes), 0, 0
	}
	if len(p) > len(b.out.data)-b.to {
		if err := b.send(); err != nil {
			return 0, err
		}
		if len(p) > len(b.out.data) {
			return b.Conn.Write(p)
		}
	}
	b.to += copy(b.out.data[b.to:], p)
	return len(p), nil
}

// compute begins a handshake's work, when it may.
func (b *below) compute() {
	b.conn.server.handshakes.compute(b.conn)
	b.working = true
}

// pause ends it, if it is under way.
func (b *below) pause() {
	if b.working {
		b.working = false
		b.conn.server.handshakes.pause(b.conn)
	}
}

// away interrupts a handshake's work, for a wait for the peer that ends with what is returned.
func (b *below) away() (back func()) {
	if !b.working {
		return func() {}
	}
	b.pause()
	return b.compute
}

// await reads in the handshake. Who was sent away meanwhile is no more work.
func (b *below) await(p []byte) (int, error) {
	back := b.away()
	n, err := b.Conn.Read(p)
	back()
	if err == nil && b.conn.broken.Load() {
		return 0, net.ErrClosed
	}
	return n, err
}

// aside sends as much as the socket takes at once, and keeps the rest. The caller holds mu.
func (b *below) aside(p []byte) (int, error) {
	if b.out == nil {
		b.out, b.at, b.to = b.pools.buffer(maxAsides), 0, 0
	}
	if len(p) > len(b.out.data)-b.to {
		b.deaf.Store(true)
		return 0, deafness()
	}
	b.to += copy(b.out.data[b.to:], p)
	if err := b.push(false); err != nil {
		return 0, err
	}
	b.release()
	return len(p), nil
}

// send waits until everything that is kept is sent. The caller holds mu.
func (b *below) send() error {
	var err error
	if b.raw != nil {
		err = b.push(true)
	} else {
		_, err = b.Conn.Write(b.out.data[b.at:b.to])
	}
	b.at, b.to = 0, 0
	return err
}

// release lets go of the buffer if everything was sent. The caller holds mu.
func (b *below) release() {
	if b.out != nil && b.at == b.to {
		b.out.Release()
		b.out, b.at, b.to = nil, 0, 0
	}
}

// cork has the records that follow kept. What TLS wrote by itself goes out first; without wait ok is false if the socket
// does not take it at once, and nothing is corked.
func (b *below) cork(wait bool) (ok bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.corked && b.out != nil {
		if wait {
			err = b.send()
		} else {
			err = b.push(false)
		}
		b.release()
	}
	b.corked = err == nil && (b.corked || b.out == nil)
	return b.corked, err
}

// uncork sends what was kept. Without wait it sends what the socket takes at once; sent is false if that was not all.
func (b *below) uncork(wait bool) (sent bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at < b.to {
		if wait {
			err = b.send()
		} else if err = b.push(false); err == nil && b.at < b.to {
			return false, nil
		}
	}
	if err != nil {
		b.at, b.to = 0, 0
	}
	b.release()
	b.corked = false
	return true, err
}

// idle says that nothing waits to be sent, so that what is said now is said at the end of what was said before.
func (b *below) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.corked && b.out == nil
}

// discard forgets what could not be sent.
func (b *below) discard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at, b.to = 0, 0
	b.release()
}

// farewell tells a peer over TLS that this is the end (close_notify), which a connection that was cut does not tell. The
// caller owns the writing side. It does not wait: who does not read is not told.
func (b *below) farewell() {
	if b != nil && b.raw != nil && b.shaken.Load() && b.idle() {
		b.conn.tls.CloseWrite() //nolint:errcheck // the peer may be gone already
	}
}

// hangUp makes both directions fail at once; TLS would say good-bye first.
func (b *below) hangUp() {
	if t, ok := b.Conn.(*net.TCPConn); ok {
		t.CloseRead()  //nolint:errcheck // the peer may be gone already
		t.CloseWrite() //nolint:errcheck // the peer may be gone already
		return
	}
	b.Conn.Close() //nolint:errcheck // nothing is owed to the peer any more
}
