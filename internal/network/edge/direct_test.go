package edge_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/edge"
)

// listen is a callback that notes what came.
func listen(log *[]string, name string) func([]byte, error) {
	return func(b []byte, err error) {
		if err != nil {
			*log = append(*log, fmt.Sprintf("%s: %v", name, err))
			return
		}
		*log = append(*log, fmt.Sprintf("%s: %d %s", name, binary.BigEndian.Uint32(b), b[4:]))
	}
}

// TestDirectKeepsTheRules: a connection without a socket queues as one with.
func TestDirectKeepsTheRules(t *testing.T) {
	park := new(parking)
	d := edge.NewDirect(park, "SIM")
	var log []string
	for i, key := range []int16{produce, produce, metadata, produce} {
		version := map[int16]int16{produce: produceVersion, metadata: metadataVersion}[key]
		d.Send(frame(key, version, int32(i), fmt.Sprint("b", i))[4:], listen(&log, fmt.Sprint("r", i)))
	}
	if park.count() != 2 {
		t.Fatalf("%d are served", park.count())
	}
	second := park.take(func(n int) int { return n - 1 })
	second.ReplyNothing()
	if len(log) != 0 {
		t.Fatal(log)
	}
	for park.count() > 0 {
		echo(park.take(oldest))
	}
	got := strings.Join(log, "; ")
	if want := "r0: 0 b0; r1: the request has no answer; r2: 2 b2; r3: 3 b3"; got != want {
		t.Fatalf("got %s\nwant %s", got, want)
	}
	checkSeen(t, park, 4)
}

// TestDirectEnds: hang-ups, cancellation, and what comes after.
func TestDirectEnds(t *testing.T) {
	park := new(parking)
	d := edge.NewDirect(park, "SIM")
	var log []string
	cancelled := 0
	d.Send(frame(fetch, fetchVersion, 1, "")[4:], listen(&log, "parked"))
	d.Send(frame(fetch, fetchVersion, 2, "")[4:], listen(&log, "queued"))
	q := park.take(oldest)
	q.OnCancel(func() { cancelled++ })
	d.Close(errors.New("gone"))
	if cancelled != 1 || !d.Conn().Closed() {
		t.Errorf("cancelled %d times, closed %v", cancelled, d.Conn().Closed())
	}
	echo(q)
	d.Send(frame(fetch, fetchVersion, 3, "")[4:], listen(&log, "late"))
	if got, want := strings.Join(log, "; "), "parked: gone; queued: gone; late: use of closed network connection"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	log = nil
	h := edge.NewDirect(serve(func(q *edge.Request) { q.Hangup(errors.New("no")) }), "SIM")
	h.Send(frame(fetch, fetchVersion, 1, "")[4:], listen(&log, "hung up"))
	bad := edge.NewDirect(serve(echo), "SIM")
	bad.Send([]byte{0, 3}, listen(&log, "bad"))
	if len(log) != 2 || !strings.Contains(log[0], "no") || !strings.Contains(log[1], "cut short") {
		t.Error(log)
	}
}

// TestDirectLoops: a client that sends its next request from the callback of
// the last does not grow the stack, and its files are read.
func TestDirectLoops(t *testing.T) {
	f, data := newShared(t, 1<<20)
	f.bare = true
	d := edge.NewDirect(serve(serveFile(f)), "SIM")
	n := 0
	var again func(b []byte, err error)
	send := func() {
		d.Send(frame(fetch, fetchVersion, int32(n), regions(region{n, 50}, region{0, 1 << 20}))[4:], again)
	}
	again = func(b []byte, err error) {
		if err != nil || string(b[4:]) != wanted(data, region{n, 50}, region{0, 1 << 20}) {
			t.Fatalf("answer %d: %d bytes, %v", n, len(b), err)
		}
		if n++; n < 200 {
			send()
		}
	}
	send()
	if n != 200 || f.holds.Load() != 0 {
		t.Errorf("%d answers, %d parts held", n, f.holds.Load())
	}
	edge.Direct(serve(echo), frame(fetch, fetchVersion, 9, "one")[4:], func(b []byte) {
		if string(b) != "\x00\x00\x00\x09one" {
			t.Errorf("%q", b)
		}
	})
}

// TestIdentity: what is learned about a peer stays with its connection.
func TestIdentity(t *testing.T) {
	b := start(t, func(q *edge.Request) {
		c := q.Conn()
		r := q.Begin()
		name, version := c.Identity().Software()
		r.Buf = fmt.Appendf(r.Buf, "%s %s %s/%s client %s", c.Listener(), c.Identity().Principal(), name, version, q.ClientID)
		c.Identity().SetPrincipal(auth.Principal{Type: auth.UserType, Name: "alice"})
		c.Identity().SetSoftware("lib", "1.2")
		if c.RemoteAddr() == nil || c.LocalAddr() == nil || c.ID() == 0 {
			t.Error("an address or the id is missing")
		}
		q.Reply()
	})
	p := b.dial()
	p.send(frame(metadata, metadataVersion, 1, ""), frame(metadata, metadataVersion, 2, ""))
	p.expect(1, "PLAINTEXT User:ANONYMOUS / client test")
	p.expect(2, "PLAINTEXT User:alice lib/1.2 client test")
}
