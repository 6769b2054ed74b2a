package httpd

import (
	"net"
	"sync"
)

// bounded is a listener with at most so many connections at a time, as many as
// free has room for: the others wait in the system's backlog.
type bounded struct {
	net.Listener
	free   chan struct{}
	ended  chan struct{} // closed with the listener
	closed sync.Once
}

func newBounded(l net.Listener, limit int) *bounded {
	return &bounded{Listener: l, free: make(chan struct{}, limit), ended: make(chan struct{})}
}

// Accept waits for room and then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.ended:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &boundedConn{Conn: c, release: func() { <-b.free }}, nil
}

// Close ends Accept, too, when it waits for room.
func (b *bounded) Close() error {
	b.closed.Do(func() { close(b.ended) })
	return b.Listener.Close()
}

type boundedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *boundedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
