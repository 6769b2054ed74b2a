package edge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/network/edge"
)

var errCut = errors.New("cut by the test")

// contextOf ends with the channel.
func contextOf(end <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		<-end
		cancel(errCut)
	}()
	return causeContext{ctx}
}

// causeContext tells the cause as the error.
type causeContext struct{ context.Context }

func (c causeContext) Err() error { return context.Cause(c.Context) }

// TestNoAllocationPerRequest: in the steady state a small request, a large one
// and one that is answered from another goroutine cost no memory.
func TestNoAllocationPerRequest(t *testing.T) {
	if raced {
		t.Skip("under the race detector pools lose things on purpose")
	}
	handed := make(chan *edge.Request)
	go func() {
		for q := range handed {
			echo(q)
		}
	}()
	defer close(handed)
	for name, c := range map[string]struct {
		handler func(*edge.Request)
		size    int
	}{
		"small":     {echo, 100},
		"large":     {echo, 100 << 10},
		"elsewhere": {func(q *edge.Request) { handed <- q }, 100},
	} {
		b := start(t, c.handler)
		p := b.dial()
		p.SetDeadline(time.Time{})
		f := frame(produce, produceVersion, 1, strings.Repeat("x", c.size))
		answer := make([]byte, 8+c.size)
		once := func() {
			if _, err := p.Write(f); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(p, answer); err != nil {
				t.Error(err)
			}
		}
		if n := testing.AllocsPerRun(500, once); n != 0 {
			t.Errorf("%s: %v allocations a request", name, n)
		}
	}
}

// TestIdleConnectionMemory: the memory of connections that have been used and
// are silent now; with -v it is printed. It counts our side and the test's.
func TestIdleConnectionMemory(t *testing.T) {
	b := start(t, echo)
	const n = 2000
	const limit = 10 << 10
	before := heap()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = b.dial()
	}
	f := frame(metadata, metadataVersion, 1, "hello")
	answer := make([]byte, 8+5)
	for _, p := range peers {
		p.send(f)
		if _, err := io.ReadFull(p, answer); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 { // stacks shrink by half in a collection
		heap()
	}
	each := (heap() - before) / n
	t.Logf("%d bytes for each idle connection, with the client's end of it", each)
	if each > limit {
		t.Errorf("%d bytes for each idle connection", each)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "100KB": 100 << 10} {
		b.Run(name, func(b *testing.B) {
			s := edge.New(edge.Options{Handler: serve(func(q *edge.Request) {
				r := q.Begin()
				r.Buf = append(r.Buf, "ok"...)
				q.Reply()
			}), World: new(world)})
			addr, err := s.Listen("PLAINTEXT", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close(b.Context())
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				b.Fatal(err)
			}
			f := frame(produce, produceVersion, 1, strings.Repeat("x", size))
			answer := make([]byte, 10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c.Write(f)
				if _, err := io.ReadFull(c, answer); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
		})
	}
}
