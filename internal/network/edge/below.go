package edge

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// below is the socket under TLS. What TLS writes record by record it sends in one piece; what TLS reads it reads without
// waiting, once the handshake is over, so that the connection holds no buffer while its peer is silent.
type below struct {
	net.Conn
	raw     syscall.RawConn // nil where readiness cannot be asked
	pools   *pools
	yielded atomic.Bool // it was cut in its handshake, for others

	// fd is the descriptor while the connection's goroutine reads without waiting, and asked says that it does.
	fd    uintptr
	asked bool

	// mu guards what follows. It is held while a full buffer is sent.
	mu     sync.Mutex
	corked bool
	out    *Buffer // records that are not sent yet; nil when there are none
	at, to int     // where in out they lie
}

// corkBytes is how much of a reply is encrypted before it is sent.
const corkBytes = 128 << 10

// Write sends a record, or keeps it while corked.
func (b *below) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.corked {
		return b.Conn.Write(p)
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

// send waits until everything that is kept is sent. The caller holds mu.
func (b *below) send() error {
	_, err := b.Conn.Write(b.out.data[b.at:b.to])
	b.at, b.to = 0, 0
	return err
}

// cork has the records that follow kept.
func (b *below) cork() {
	b.mu.Lock()
	b.corked = true
	b.mu.Unlock()
}

// uncork sends what was kept. Without wait it sends what the socket takes at once; sent is false if that was not all.
func (b *below) uncork(wait bool) (sent bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at < b.to {
		if wait {
			err = b.send()
		} else if err = b.sendSome(); err == nil && b.at < b.to {
			return false, nil
		}
	}
	if b.out != nil {
		b.out.Release()
		b.out = nil
	}
	b.corked, b.at, b.to = false, 0, 0
	return true, err
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
