package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// Defaults of Options, Kafka's where Kafka has them.
const (
	defaultMaxFrameBytes = 100 << 20
	defaultIdleTimeout   = 10 * time.Minute
	// defaultQueuedBytes is what all frames together may hold. Kafka's
	// queued.max.request.bytes has no bound unless set.
	defaultQueuedBytes = 512 << 20
)

const (
	// longestTick and shortestTick bound the time between two sweeps.
	longestTick  = 5 * time.Second
	shortestTick = 10 * time.Millisecond
	// ticksPerIdle is how many sweeps there are in an idle time, so that a
	// connection is closed at most an eighth of it late.
	ticksPerIdle = 8
	// maxWriteStall is how long a peer may take nothing of a reply.
	maxWriteStall = 60 * time.Second
	// acceptPause is how long a listener waits after it could not accept, for
	// want of descriptors mostly.
	acceptPause = 100 * time.Millisecond
)

// Options say how a server behaves. Handler and World are required.
type Options struct {
	Handler Handler
	World   clock.World
	Logger  *slog.Logger // none: silent

	// MaxFrameBytes is socket.request.max.bytes.
	MaxFrameBytes int32
	// FirstFrameBytes bounds the frames by listener until the handler sets another bound: sasl.server.max.receive.size.
	FirstFrameBytes map[string]int32
	// QueuedBytes is queued.max.request.bytes: what the frames of all
	// connections that are being read or handled may hold together; one more
	// of the largest size may always be finished. It is raised to two of the
	// largest frames if it is less.
	QueuedBytes int64
	// Limits are those on the number of connections.
	Limits ConnectionLimits
	// Arrive counts a connection that comes in on a listener, and tells how long the listener is to accept nothing more,
	// and after how long the connection is to be closed, if it is one too many of its address. It may be nil.
	Arrive func(listener string, ip netip.Addr) (wait, refused time.Duration)
	// GuestTime is how long a peer on a listener of FirstFrameBytes may take to authenticate.
	GuestTime time.Duration
	// MaxFiles is how many files and connections the process may have open; 0 where that is not known. Three of four may be
	// connections, and half may be peers that have not proved yet who they are: what connections took could not be had by
	// logs, and a log that cannot open a file is out of use.
	MaxFiles int
	// Guests is how many peers there may be that have not proved yet who they are; 0 is a bound that leaves room for others.
	Guests int
	// GuestBytes is how much they may hold together; 0 is a default.
	GuestBytes int
	// IdleTimeout is connections.max.idle.ms; negative means never.
	IdleTimeout time.Duration
	// SendBuffer and ReceiveBuffer are socket.send.buffer.bytes and
	// socket.receive.buffer.bytes; 0 or less leaves them to the system, which
	// then adapts them.
	SendBuffer, ReceiveBuffer int
	// Handshaken is told of every finished TLS handshake, on the connection's goroutine: it sets the peer's principal.
	// Its error ends the connection. It may be nil.
	Handshaken func(c *Conn, state tls.ConnectionState) error
}

// Server is a set of listeners and their connections.
type Server struct {
	options    Options
	log        *slog.Logger
	world      clock.World
	frameLimit int32
	// maxConns is how many connections there may be at most, as MaxFiles allows.
	maxConns   int
	tickEvery  time.Duration
	pools      pools
	budget     budget
	counts     counts
	traffic    *traffic
	handshakes handshakes
	guests     guests
	closing    chan struct{} // closed by Close
	tick       atomic.Uint32 // the number of sweeps
	routines   sync.WaitGroup

	// mu guards what follows. A connection's lock may be taken under it.
	mu          sync.Mutex
	limits      ConnectionLimits
	perListener map[string]int
	delayed     map[net.Conn]clock.Timer // to be closed; at most maxDelayed
	listeners   []net.Listener
	names       []string // of the listeners
	conns       map[*Conn]struct{}
	perIP       map[netip.Addr]int
	lastID      uint64
	sweeper     clock.Timer
	noted       [reasonCount]notice
	starved     starvation
	closed      bool
}

// notice keeps one kind of log line from flooding.
type notice struct {
	tick     uint32
	repeated int
	ever     bool
}

// New makes a server without listeners.
func New(o Options) *Server {
	o.MaxFrameBytes = cmp.Or(o.MaxFrameBytes, defaultMaxFrameBytes)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, defaultIdleTimeout)
	o.GuestTime = cmp.Or(o.GuestTime, defaultGuestTime)
	if o.QueuedBytes <= 0 {
		o.QueuedBytes = defaultQueuedBytes
	}
	s := &Server{options: o, log: o.Logger, world: o.World, frameLimit: o.MaxFrameBytes, traffic: newTraffic()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.budget.limit = max(o.QueuedBytes, 2*int64(o.MaxFrameBytes))
	s.budget.spare = int64(capacityFor(int(o.MaxFrameBytes) + 4))
	s.tickEvery = longestTick
	if o.IdleTimeout > 0 {
		s.tickEvery = max(shortestTick, min(longestTick, o.IdleTimeout/ticksPerIdle))
	}
	files := cmp.Or(o.MaxFiles, math.MaxInt)
	s.maxConns = files / 4 * 3
	s.handshakes.begin(o.World)
	s.guests.begin(s.tick.Load, cmp.Or(o.Guests, min(maxGuests, files/2)), cmp.Or(o.GuestBytes, maxGuestBytes))
	s.conns = make(map[*Conn]struct{})
	s.perIP = make(map[netip.Addr]int)
	s.limits, s.perListener, s.delayed = o.Limits, make(map[string]int), make(map[net.Conn]clock.Timer)
	s.closing = make(chan struct{})
	return s
}

// background runs f in the background; Close waits for it.
func (s *Server) background(name string, f func()) {
	s.routines.Add(1)
	s.world.Go(name, func() {
		defer s.routines.Done()
		f()
	})
}

// ErrClosed is returned for what comes after Close.
var ErrClosed = errors.New("the server is closed")

// Listen opens a TCP listener. name is the listener's name in the
// configuration; addr is host:port, with port 0 for any. It returns the address
// it listens on.
func (s *Server) Listen(name, addr string) (net.Addr, error) {
	l, err := s.socketFor(name, addr)
	if err != nil {
		return nil, err
	}
	if err := s.serve(name, l, nil); err != nil {
		return nil, err
	}
	return l.Addr(), nil
}

// socketFor makes a listening socket.
func (s *Server) socketFor(name, addr string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			// Set on the listener, the sizes are inherited and take part in the
			// choice of the window scale.
			failed = setBuffers(fd, s.options.SendBuffer, s.options.ReceiveBuffer)
		})
		return errors.Join(err, failed)
	}}
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listener %s cannot listen on %q: %w (is another process there? change listeners in the configuration)",
			name, addr, err)
	}
	return l, nil
}

// serve begins to accept, with TLS if there is a config. The listener is the
// server's from then on.
func (s *Server) serve(name string, l net.Listener, config *tls.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close() //nolint:errcheck // it was never used
		return fmt.Errorf("listener %s: %w", name, ErrClosed)
	}
	s.listeners = append(s.listeners, l)
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
	if s.sweeper == nil {
		s.sweeper = s.world.AfterFunc(s.tickEvery, s.sweep)
	}
	s.background("edge: accept on "+name, func() { s.accept(name, l, config) })
	return nil
}

// ServeConn serves one connection that somebody else made (a test's pipe).
func (s *Server) ServeConn(name string, socket net.Conn) { s.open(s.connect(name, socket)) }

// open starts a connection, or says why not.
func (s *Server) open(c *Conn) {
	why, err := s.admit(c)
	if err == nil {
		return
	}
	if why != none {
		s.complain(c, why, err)
		s.counts.refused[why].Add(1)
	}
	c.socket.Close() //nolint:errcheck // nothing was said yet
}

// connect makes a connection for a socket.
func (s *Server) connect(name string, socket net.Conn) *Conn {
	c := &Conn{listener: name, handler: s.options.Handler, pools: &s.pools, server: s, socket: socket, active: true}
	c.raw = rawOf(socket)
	c.in.conn = c
	c.readable = c.in.readSome
	c.cond.L = &c.mu
	c.in.stage = classStage
	c.frameLimit.Store(s.frameLimit)
	if n, ok := s.options.FirstFrameBytes[name]; ok {
		c.frameLimit.Store(min(n, s.frameLimit))
	}
	c.lastTick.Store(s.tick.Load())
	return c
}

// remove counts an ended connection out.
func (s *Server) remove(c *Conn, cause error) {
	var r *refusal
	if errors.As(cause, &r) {
		s.complain(c, r.reason, cause)
		s.counts.refused[r.reason].Add(1)
	} else if !ordinary(cause) {
		s.complain(c, none, cause)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(c)
}

// complain logs why a connection was ended, each kind at most once a tick.
func (s *Server) complain(c *Conn, why Reason, cause error) {
	s.mu.Lock()
	n := &s.noted[why]
	now := s.tick.Load()
	if n.ever && n.tick == now {
		n.repeated++
		s.mu.Unlock()
		return
	}
	repeated := n.repeated
	*n = notice{tick: now, ever: true}
	s.mu.Unlock()
	level := slog.LevelWarn
	if why == IdleTooLong {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "closed a connection", "listener", c.listener, "peer", c.RemoteAddr().String(),
		"connection", c.id, "reason", why.String(), "error", cause, "alike", repeated)
}

// Close stops accepting and reading, lets the requests that were read be
// answered until ctx ends, then cuts all connections. It returns when every
// goroutine of the server has ended; the error is ctx's when answers were lost.
// Requests that the handler has not answered by then are cancelled.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		close(s.closing)
	}
	s.closed = true
	s.closeDelayed()
	for _, l := range s.listeners {
		l.Close() //nolint:errcheck // there is nothing to lose in a listener
	}
	s.listeners = nil
	var hurry []func()
	for c := range s.conns {
		hurry = append(hurry, c.drain()...)
	}
	s.mu.Unlock()
	for _, f := range hurry {
		f()
	}
	ended := make(chan struct{})
	s.world.Go("edge: wait for connections", func() {
		s.routines.Wait()
		close(ended)
	})
	var lost error
	select {
	case <-ended:
	case <-ctx.Done():
		lost = s.cut(ctx)
		<-ended
	}
	s.mu.Lock()
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
	s.mu.Unlock()
	return lost
}

// cut ends all connections at once.
func (s *Server) cut(ctx context.Context) error {
	s.mu.Lock()
	open := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.kill(errDrained)
	}
	if len(open) == 0 {
		return nil
	}
	return fmt.Errorf("%d connections were cut before all their requests were answered: %w", len(open), ctx.Err())
}
