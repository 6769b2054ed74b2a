package edge_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/network/edge"
)

// parking is a handler that keeps every request until the test answers it.
type parking struct {
	mu     sync.Mutex
	parked []*edge.Request
	seen   []int32 // correlation ids in the order of Serve
	broke  string  // a rule that was broken
}

func (p *parking) Serve(q *edge.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.parked) - 1
	if last >= 0 && (q.Key != produce && q.Key != commit || p.parked[last].Key != q.Key) {
		p.broke = fmt.Sprintf("request %d came while %d were unanswered", q.CorrelationID, len(p.parked))
	}
	p.seen = append(p.seen, q.CorrelationID)
	p.parked = append(p.parked, q)
}

// take removes one parked request.
func (p *parking) take(pick func(n int) int) *edge.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parked) == 0 {
		return nil
	}
	i := pick(len(p.parked))
	q := p.parked[i]
	p.parked = append(p.parked[:i], p.parked[i+1:]...)
	return q
}

func (p *parking) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.parked)
}

func oldest(int) int { return 0 }

// TestRandomCompletionKeepsOrder answers pipelined requests from several
// goroutines in random order.
func TestRandomCompletionKeepsOrder(t *testing.T) {
	for _, kind := range []string{"tcp", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			park := new(parking)
			b := start(t, park.Serve)
			p := b.peer(kind)
			const requests = 3000
			go func() {
				for i := range int32(requests) {
					key, version := int16(produce), int16(produceVersion)
					if i%7 == 0 {
						key, version = metadata, metadataVersion
					}
					p.Write(frame(key, version, i, fmt.Sprint("b", i)))
				}
			}()
			var answered atomic.Int32
			for w := range uint64(4) {
				go func() {
					rng := rand.New(rand.NewPCG(w, 1))
					for answered.Load() < requests {
						if q := park.take(rng.IntN); q != nil {
							answered.Add(1)
							echo(q)
						}
					}
				}()
			}
			for i := range int32(requests) {
				p.expect(i, fmt.Sprint("b", i))
			}
			checkSeen(t, park, requests)
		})
	}
}

func checkSeen(t *testing.T, park *parking, n int) {
	t.Helper()
	park.mu.Lock()
	defer park.mu.Unlock()
	if park.broke != "" {
		t.Fatal(park.broke)
	}
	if len(park.seen) != n {
		t.Fatalf("%d requests were served, want %d", len(park.seen), n)
	}
	for i, c := range park.seen {
		if int(c) != i {
			t.Fatalf("request %d was served in place %d", c, i)
		}
	}
}

// TestProducePipelines: Produce does not wait for Produce, all else waits.
func TestProducePipelines(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	p := b.dial()
	p.send(frame(produce, produceVersion, 0, ""), frame(produce, produceVersion, 1, ""),
		frame(fetch, fetchVersion, 2, ""), frame(produce, produceVersion, 3, ""))
	until(t, "both Produce requests are served", func() bool { return park.count() == 2 })
	until(t, "all four are read", func() bool { return b.Stats().Requests == 4 })
	second := park.take(func(n int) int { return n - 1 })
	second.ReplyNothing()
	echo(park.take(oldest))
	p.expect(0, "")
	until(t, "the Fetch is served", func() bool { return park.count() == 1 })
	echo(park.take(oldest))
	p.expect(2, "")
	until(t, "the last Produce is served", func() bool { return park.count() == 1 })
	echo(park.take(oldest))
	p.expect(3, "")
	checkSeen(t, park, 4)
}

// TestOffsetCommitPipelines: OffsetCommit does not wait for OffsetCommit, but for Produce, and Produce for it.
func TestOffsetCommitPipelines(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	p := b.dial()
	p.send(frame(commit, commitVersion, 0, ""), frame(commit, commitVersion, 1, ""),
		frame(produce, produceVersion, 2, ""), frame(commit, commitVersion, 3, ""))
	until(t, "both OffsetCommit requests are served", func() bool { return park.count() == 2 })
	until(t, "all four are read", func() bool { return b.Stats().Requests == 4 })
	echo(park.take(oldest))
	p.expect(0, "")
	echo(park.take(oldest))
	p.expect(1, "")
	for i := range int32(2) {
		until(t, "the next is served", func() bool { return park.count() == 1 })
		echo(park.take(oldest))
		p.expect(2+i, "")
	}
	checkSeen(t, park, 4)
}

// TestHangUpCancelsParked: a peer that leaves while its Fetch waits.
func TestHangUpCancelsParked(t *testing.T) {
	for _, kind := range []string{"tcp", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			got, cancelled := make(chan *edge.Request, 1), make(chan struct{})
			b := start(t, func(q *edge.Request) {
				q.Release()
				q.OnCancel(func() { close(cancelled) })
				got <- q
			})
			p := b.peer(kind)
			p.send(frame(fetch, fetchVersion, 1, "wait"), frame(fetch, fetchVersion, 2, "never served"))
			q := <-got
			p.Close()
			<-cancelled
			if !q.Conn().Closed() {
				t.Error("the connection says that it is open")
			}
			until(t, "the connection is gone", func() bool { return b.Stats().Connections == 0 })
			echo(q) // as a late answer does
			if n := b.Stats().QueuedBytes; n != 0 {
				t.Errorf("%d bytes are still charged", n)
			}
		})
	}
}

// TestOnCancelAfterTheEnd is told at once.
func TestOnCancelAfterTheEnd(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	p := b.dial()
	p.send(frame(fetch, fetchVersion, 1, ""))
	until(t, "the request is served", func() bool { return park.count() == 1 })
	p.Close()
	until(t, "the connection is gone", func() bool { return b.Stats().Connections == 0 })
	told := false
	q := park.take(oldest)
	q.OnCancel(func() { told = true })
	q.ReplyNothing()
	if !told {
		t.Error("OnCancel kept the loss to itself")
	}
}

// TestHangupKeepsEarlierAnswers: the handler ends the connection in its order.
func TestHangupKeepsEarlierAnswers(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	p := b.dial()
	p.send(frame(produce, produceVersion, 0, "a"), frame(produce, produceVersion, 1, "b"), frame(produce, produceVersion, 2, "c"))
	until(t, "all are served", func() bool { return park.count() == 3 })
	first, second, third := park.take(oldest), park.take(oldest), park.take(oldest)
	echo(third)
	second.Hangup(errors.New("enough"))
	echo(first)
	p.expect(0, "a")
	if rest := p.expectEnd(); rest != "" {
		t.Errorf("after the hang-up came %q", rest)
	}
	until(t, "the reason is logged", func() bool { return b.log.String() != "" })
}

func TestReplyAndHangup(t *testing.T) {
	b := start(t, func(q *edge.Request) {
		r := q.Begin()
		r.Buf = append(r.Buf, "bye"...)
		q.ReplyAndHangup(nil)
	})
	p := b.dial()
	p.send(frame(metadata, metadataVersion, 5, ""))
	p.expect(5, "bye")
	p.expectEnd()
}

// TestPendingIsBounded: a peer that sends without end is not read without end.
func TestPendingIsBounded(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	p := b.dial()
	const requests = 1000
	go func() {
		for i := range int32(requests) {
			p.Write(frame(produce, produceVersion, i, "x"))
		}
	}()
	until(t, "the bound is reached", func() bool { return park.count() == 256 })
	for i := range int32(requests) {
		until(t, "there is one to answer", func() bool { return park.count() > 0 })
		if n := park.count(); n > 256 {
			t.Fatalf("%d requests are pending", n)
		}
		echo(park.take(oldest))
		p.expect(i, "x")
	}
}

// TestCloseAnswersWhatWasRead: a graceful stop.
func TestCloseAnswersWhatWasRead(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	p, idle := b.dial(), b.dial()
	p.send(frame(produce, produceVersion, 0, "a"), frame(fetch, fetchVersion, 1, "b"))
	until(t, "both are read", func() bool { return b.Stats().Requests == 2 && b.Stats().Connections == 2 })
	ended := make(chan error, 1)
	go func() { ended <- b.Close(t.Context()) }()
	idle.expectEnd()
	until(t, "one is served", func() bool { return park.count() == 1 })
	echo(park.take(oldest))
	p.expect(0, "a")
	until(t, "the other is served", func() bool { return park.count() == 1 })
	echo(park.take(oldest))
	p.expect(1, "b")
	p.expectEnd()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", b.addr); err == nil {
		t.Error("the listener is still there")
	}
	if _, err := b.Listen("late", "127.0.0.1:0"); !errors.Is(err, edge.ErrClosed) {
		t.Error("Listen after Close: ", err)
	}
}

// TestCloseAnswersWhatWaits: a request that waits for something is told when the server stops, and so is one that
// begins to wait then.
func TestCloseAnswersWhatWaits(t *testing.T) {
	asked := make(chan struct{}, 2)
	b := start(t, func(q *edge.Request) {
		q.OnCancel(func() { echo(q) })
		asked <- struct{}{}
	})
	p := b.dial()
	p.send(frame(fetch, fetchVersion, 1, "first"))
	<-asked
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.expect(1, "first")
}

// TestAnswersNotTaken: a client that asks for much and reads slowly has few answers made ahead of it.
func TestAnswersNotTaken(t *testing.T) {
	const requests, size = 200, 512 << 10
	const ahead = 24 // the bound of answers, and what the sockets hold
	answer := strings.Repeat("x", size)
	for _, kind := range []string{"tcp", "pipe", "tls"} {
		t.Run(kind, func(t *testing.T) {
			var served, received, most atomic.Int64
			b := start(t, func(q *edge.Request) {
				if n := served.Add(1) - received.Load(); n > most.Load() {
					most.Store(n)
				}
				r := q.Begin()
				r.Buf = append(r.Buf, answer...)
				q.Reply()
			}, func(o *edge.Options) { o.SendBuffer = 64 << 10 })
			var p *peer
			if kind == "tls" {
				addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
				if err != nil {
					t.Fatal(err)
				}
				socket, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				p = newPeer(t, socket)
			} else {
				p = b.peer(kind)
			}
			var all []byte
			for i := range int32(requests) {
				all = append(all, frame(metadata, metadataVersion, i, "x")...)
			}
			go p.Write(all)
			for i := range int32(requests) {
				p.expect(i, answer)
				received.Add(1)
			}
			if n := most.Load(); n > ahead {
				t.Errorf("%d answers of %d bytes were made ahead", n, size)
			}
		})
	}
}

// TestLastAnswerAfterHalfClose: a client that has sent its last Produce and says so still gets the answer, as from Kafka;
// one that waited for news is let go.
func TestLastAnswerAfterHalfClose(t *testing.T) {
	for _, kind := range []string{"tcp", "tls"} {
		park := new(parking)
		b := start(t, park.Serve)
		p := b.dial()
		if kind == "tls" {
			addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
			if err != nil {
				t.Fatal(err)
			}
			socket, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			p = newPeer(t, socket)
		}
		half, ok := p.Conn.(interface{ CloseWrite() error })
		if !ok {
			t.Fatal("it cannot close one direction")
		}
		p.send(frame(produce, produceVersion, 1, "a"), frame(produce, produceVersion, 2, "b"))
		until(t, "both are served", func() bool { return park.count() == 2 })
		half.CloseWrite()
		echo(park.take(oldest))
		p.expect(1, "a")
		echo(park.take(oldest))
		p.expect(2, "b")
		p.expectEnd()

		p = b.dial()
		p.send(frame(fetch, fetchVersion, 1, "a"))
		until(t, "it is served", func() bool { return park.count() == 1 })
		q := park.take(oldest)
		gone := make(chan struct{})
		q.OnCancel(func() { close(gone) })
		p.CloseWrite()
		<-gone
		echo(q)
		p.expectEnd()
	}
}
