package edge_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
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
// are silent now, and of those whose Fetch waits. It counts our side and the
// test's, without the kernel's.
func TestIdleConnectionMemory(t *testing.T) {
	var parked []*edge.Request
	var mu sync.Mutex
	for name, handler := range map[string]func(q *edge.Request){
		"idle": echo,
		"parked": func(q *edge.Request) {
			if q.Key == metadata {
				echo(q)
				return
			}
			q.Release()
			mu.Lock()
			parked = append(parked, q)
			mu.Unlock()
		},
	} {
		const n, limit = 2000, 10 << 10
		before := heap()
		b := start(t, handler)
		peers := make([]*peer, n)
		for i := range peers {
			peers[i] = b.dial()
		}
		f, answer := frame(metadata, metadataVersion, 1, "hello"), make([]byte, 8+5)
		for _, p := range peers {
			p.send(f)
			if _, err := io.ReadFull(p, answer); err != nil {
				t.Fatal(err)
			}
			if name == "parked" {
				p.send(frame(fetch, fetchVersion, 2, "wait"))
			}
		}
		if name == "parked" {
			until(t, "all wait", func() bool { return b.Stats().Requests == 2*n })
		}
		for range 4 { // stacks shrink by half in a collection
			heap()
		}
		each := (heap() - before) / n
		t.Logf("%s: %d bytes for each connection, with the client's end of it", name, each)
		if each > limit && !raced {
			t.Errorf("%s: %d bytes for each connection", name, each)
		}
		for _, p := range peers {
			p.Close()
		}
		until(t, "all are gone", func() bool { return b.Stats().Connections == 0 })
	}
	for _, q := range parked {
		q.ReplyNothing()
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
