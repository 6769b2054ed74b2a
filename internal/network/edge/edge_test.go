package edge_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve is a Handler in one function.
type serve func(q *edge.Request)

func (f serve) Serve(q *edge.Request) { f(q) }

// echo answers with the request's body.
func echo(q *edge.Request) {
	r := q.Begin()
	r.Buf = append(r.Buf, q.Body...)
	q.Reply()
}

// Requests used as they are: Produce 8, OffsetCommit 7 and Fetch 11 have request header 1 and
// response header 0.
const (
	produce, produceVersion   = wire.KeyProduce, 8
	commit, commitVersion     = wire.KeyOffsetCommit, 7
	fetch, fetchVersion       = wire.KeyFetch, 11
	metadata, metadataVersion = wire.KeyMetadata, 8
)

// frame is one request on the wire.
func frame(key, version int16, correlation int32, body string) []byte {
	b := []byte{0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(binary.BigEndian.AppendUint16(b, 4), "test"...)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// lockedLog is a log that tests read.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bench is a server under test with one listener on loopback.
type bench struct {
	*edge.Server
	t     *testing.T
	addr  string
	log   *lockedLog
	world *world
}

// world is the real one, with timers that only the test fires.
type world struct {
	clock.Real
	mu     sync.Mutex
	timers []*timer
}

type timer struct {
	w  *world
	f  func()
	on bool
}

func (w *world) AfterFunc(_ time.Duration, f func()) clock.Timer {
	t := &timer{w: w, f: f, on: true}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timers = append(w.timers, t)
	return t
}

func (t *timer) Stop() bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	was := t.on
	t.on = false
	return was
}

func (t *timer) Reset(time.Duration) bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	was := t.on
	t.on = true
	return was
}

// pass lets the next n ticks of all timers pass.
func (w *world) pass(n int) {
	for range n {
		w.mu.Lock()
		var due []func()
		for _, t := range w.timers {
			if t.on {
				t.on = false
				due = append(due, t.f)
			}
		}
		w.mu.Unlock()
		for _, f := range due {
			f()
		}
	}
}

func start(t *testing.T, h func(q *edge.Request), change ...func(*edge.Options)) *bench {
	t.Helper()
	b := &bench{t: t, log: new(lockedLog), world: new(world)}
	o := edge.Options{Handler: serve(h), World: b.world, Logger: slog.New(slog.NewTextHandler(b.log, nil))}
	for _, f := range change {
		f(&o)
	}
	b.Server = edge.New(o)
	addr, err := b.Listen("PLAINTEXT", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = addr.String()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.Close(ctx)
		b.world.Wait()
	})
	return b
}

// peer is a client that speaks bytes.
type peer struct {
	net.Conn
	t *testing.T
}

func (b *bench) dial() *peer {
	b.t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	return newPeer(b.t, c)
}

// peer is a new client over TCP or a pipe.
func (b *bench) peer(kind string) *peer {
	b.t.Helper()
	if kind == "pipe" {
		return b.pipe()
	}
	return b.dial()
}

func (b *bench) pipe() *peer {
	near, far := net.Pipe()
	b.ServeConn("PIPE", far)
	return newPeer(b.t, near)
}

func newPeer(t *testing.T, c net.Conn) *peer {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &peer{c, t}
}

func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	for _, f := range frames {
		if _, err := p.Write(f); err != nil {
			p.t.Fatal(err)
		}
	}
}

// receive reads one answer.
func (p *peer) receive() (correlation int32, body string) {
	p.t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		p.t.Fatal("reading an answer: ", err)
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(p, rest); err != nil {
		p.t.Fatal("reading an answer's body: ", err)
	}
	return int32(binary.BigEndian.Uint32(head[4:])), string(rest)
}

func (p *peer) expect(correlation int32, body string) {
	p.t.Helper()
	c, b := p.receive()
	if c != correlation || b != body {
		p.t.Fatalf("answer %d %.60q (%d bytes), want %d %.60q (%d bytes)", c, b, len(b), correlation, body, len(body))
	}
}

// expectEnd reads until the server has closed, and returns what came.
func (p *peer) expectEnd() string {
	p.t.Helper()
	b, err := io.ReadAll(p)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		p.t.Fatalf("the connection stays open; it said %q", b)
	}
	return string(b)
}

// until waits for a condition that other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: ", what)
		}
		wait := make(chan struct{})
		time.AfterFunc(time.Millisecond, func() { close(wait) })
		<-wait
	}
}

func TestEcho(t *testing.T) {
	b := start(t, echo)
	for name, p := range map[string]*peer{"tcp": b.dial(), "pipe": b.pipe()} {
		for i := range int32(50) {
			body := strings.Repeat(name, int(i*i))
			done := make(chan struct{})
			go func() { defer close(done); p.send(frame(metadata, metadataVersion, i, body)) }()
			p.expect(i, body)
			<-done
		}
	}
}

func TestManySmallRequestsInOneWrite(t *testing.T) {
	b := start(t, echo)
	p := b.dial()
	var all []byte
	for i := range int32(2000) {
		all = append(all, frame(produce, produceVersion, i, fmt.Sprint("body", i))...)
	}
	go p.Write(all)
	for i := range int32(2000) {
		p.expect(i, fmt.Sprint("body", i))
	}
}
