package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"
)

// maxDelayed bounds the connections that are kept for a while before they are
// closed, because their address opens too many; beyond it they are closed at once.
const maxDelayed = 1024

// ConnectionLimits say how many connections there may be. Zero and less means no limit.
type ConnectionLimits struct {
	// Total is max.connections.
	Total int
	// PerIP is max.connections.per.ip, Overrides what holds for single addresses instead.
	PerIP     int
	Overrides map[netip.Addr]int
	// Listeners is max.connections of single listeners.
	Listeners map[string]int
	// Protected is the listener that Total does not keep anybody from: the brokers' own, where there are others. When
	// there are too many connections, the one of the others that was quiet longest makes room. It may be empty.
	Protected string
}

// SetConnectionLimits replaces the limits. Connections that are open stay open.
func (s *Server) SetConnectionLimits(l ConnectionLimits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// of is how many connections an address may have.
func (l *ConnectionLimits) of(ip netip.Addr) int {
	if n, ok := l.Overrides[ip]; ok {
		return n
	}
	if l.PerIP > 0 {
		return l.PerIP
	}
	return math.MaxInt
}

// refuses says why a connection may not be opened. The caller holds mu.
//
// Differs from Kafka: at max.connections Kafka stops accepting, and the client
// waits in the backlog until it gives up; here it is told at once, by the close.
func (s *Server) refuses(c *Conn, ip netip.Addr, known bool) (Reason, error) {
	l := &s.limits
	most := l.Listeners[c.listener]
	switch {
	case s.closed:
		return none, ErrClosed
	case len(s.conns) >= s.maxConns:
		return TooManyConnections, fmt.Errorf("%d connections are open, the rest of the files that the process may have open is for logs: "+
			"raise that number (LimitNOFILE, ulimit -n), or find who opens so many", len(s.conns))
	case l.Total > 0 && len(s.conns) >= l.Total && c.listener != l.Protected:
		return TooManyConnections, fmt.Errorf("%d connections are open, which is max.connections: raise it, or find who opens so many", len(s.conns))
	case most > 0 && s.perListener[c.listener] >= most:
		return TooManyConnections, fmt.Errorf("%d connections are open on listener %s, which is its max.connections: raise it, or find who opens so many", most, c.listener)
	case known && s.perIP[ip] >= l.of(ip):
		return TooManyFromAddress, fmt.Errorf("%d connections are open from %s, which is max.connections.per.ip: raise it, or find what opens so many there",
			s.perIP[ip], ip)
	default:
		return none, nil
	}
}

// admit counts the connection in and starts it, unless a limit says no.
func (s *Server) admit(c *Conn) (Reason, error) {
	ip, known := addressOf(c.socket)
	s.mu.Lock()
	defer s.mu.Unlock()
	if why, err := s.refuses(c, ip, known); err != nil {
		return why, err
	}
	if s.limits.Total > 0 && len(s.conns) >= s.limits.Total {
		s.yieldQuietest()
	}
	if known {
		s.perIP[ip]++
	}
	s.perListener[c.listener]++
	s.lastID++
	c.id = s.lastID
	c.counts = s.traffic.counters.Shard(c.id)
	s.conns[c] = struct{}{}
	s.counts.accepted.Add(1)
	if s.sweeper == nil {
		s.sweeper = s.world.AfterFunc(s.tickEvery, s.sweep)
	}
	s.guests.enter(c)
	s.background("edge: connection", c.run)
	return none, nil
}

// yieldQuietest ends the connection that was quiet longest, but none of the protected listener. The caller holds mu.
func (s *Server) yieldQuietest() {
	var quietest *Conn
	now, most := s.tick.Load(), uint32(0)
	for c := range s.conns {
		if silent := now - c.lastTick.Load(); c.listener != s.limits.Protected && !c.broken.Load() && (quietest == nil || silent > most) {
			quietest, most = c, silent
		}
	}
	if quietest != nil {
		quietest.kill(refuse(TooManyConnections, "%d connections are open, which is max.connections, and a broker needs one: the quietest made room", len(s.conns)))
	}
}

// leave counts an ended connection out. The caller holds mu.
func (s *Server) leave(c *Conn) {
	delete(s.conns, c)
	s.guests.leave(c)
	if s.perListener[c.listener]--; s.perListener[c.listener] <= 0 {
		delete(s.perListener, c.listener)
	}
	if ip, known := addressOf(c.socket); known {
		if s.perIP[ip]--; s.perIP[ip] <= 0 {
			delete(s.perIP, ip)
		}
	}
}

func addressOf(socket net.Conn) (netip.Addr, bool) {
	t, ok := socket.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	ip := t.AddrPort().Addr().Unmap()
	return ip, ip.IsValid()
}

// accept runs until the listener is closed.
func (s *Server) accept(name string, l net.Listener, config *tls.Config) {
	for {
		socket, err := l.Accept()
		if err == nil {
			if s.arrives(name, socket) {
				c := s.connect(name, socket)
				if config != nil {
					secure(c, config)
				}
				s.open(c)
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.log.Error("a listener cannot accept connections; trying again", "listener", name, "error", err)
		s.pause(acceptPause)
	}
}

// arrives asks whether connections come too fast (KIP-306, KIP-612). As in Kafka, a listener at its rate accepts nothing
// for a while, and a connection of an address at its rate is kept for a while and closed.
func (s *Server) arrives(name string, socket net.Conn) bool {
	if s.options.Arrive == nil {
		return true
	}
	ip, _ := addressOf(socket)
	wait, refused := s.options.Arrive(name, ip)
	if wait > 0 {
		s.pause(wait)
	}
	if refused > 0 {
		s.counts.refused[TooFastFromAddress].Add(1)
		s.closeLater(socket, refused)
	}
	return refused == 0
}

// pause keeps a listener from accepting, until the server closes at the longest.
func (s *Server) pause(d time.Duration) {
	over := make(chan struct{})
	timer := s.world.AfterFunc(d, func() { close(over) })
	defer timer.Stop()
	select {
	case <-over:
	case <-s.closing:
	}
}

// closeLater closes a socket after a while: who is refused at once comes back at once.
func (s *Server) closeLater(socket net.Conn, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.delayed) >= maxDelayed {
		socket.Close() //nolint:errcheck // nothing was said
		return
	}
	s.delayed[socket] = s.world.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.delayed, socket)
		socket.Close() //nolint:errcheck // nothing was said
	})
}

// closeDelayed closes what waits to be closed. The caller holds mu.
func (s *Server) closeDelayed() {
	for socket, timer := range s.delayed {
		timer.Stop()
		socket.Close() //nolint:errcheck // nothing was said
	}
	clear(s.delayed)
}
