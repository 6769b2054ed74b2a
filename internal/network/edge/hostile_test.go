package edge_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// flexible is a request with a tag section in its header.
func flexible(tags ...byte) []byte {
	b := frame(produce, 9, 1, string(tags)+"body")
	return b
}

func sized(n int32, rest string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
}

// TestRefused: what Kafka's protocol does not have ends the connection at once,
// with the reason counted and logged.
func TestRefused(t *testing.T) {
	b := start(t, func(q *edge.Request) { q.Reply() })
	for name, c := range map[string]struct {
		bytes []byte
		why   edge.Reason
		says  string
	}{
		"TLS":                {[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), edge.TLSClient, "a TLS client spoke to the plaintext listener PLAINTEXT"},
		"SSH":                {[]byte("SSH-2.0-x\r\n"), edge.SSHClient, "SSH"},
		"negative":           {sized(-1, ""), edge.FrameNegative, "-1 bytes"},
		"most negative":      {sized(-1<<31, ""), edge.FrameNegative, ""},
		"too large":          {sized(100<<20+1, ""), edge.FrameTooLarge, "socket.request.max.bytes"},
		"largest":            {sized(1<<31-1, ""), edge.FrameTooLarge, ""},
		"empty":              {sized(0, ""), edge.BadHeader, "shorter than its header"},
		"header cut":         {sized(9, "\x00\x03\x00\x08\x00\x00\x00\x01\x00"), edge.BadHeader, ""},
		"client id cut":      {sized(11, "\x00\x03\x00\x08\x00\x00\x00\x01\x00\x05x"), edge.BadHeader, "cut short"},
		"client id bad":      {sized(11, "\x00\x03\x00\x08\x00\x00\x00\x01\xff\xf0x"), edge.BadHeader, ""},
		"unknown API":        {frame(9999, 0, 1, ""), edge.UnknownAPI, "9999"},
		"retired API":        {frame(4, 0, 1, ""), edge.UnknownAPI, ""},
		"unknown, large":     {sized(50<<20, "\x7f\xff\x00\x00"), edge.UnknownAPI, ""},
		"version too high":   {frame(metadata, 99, 1, ""), edge.UnsupportedVersion, "Metadata request has version 99"},
		"version too low":    {frame(wire.KeyCreateTopics, 0, 1, ""), edge.UnsupportedVersion, ""},
		"negative version":   {frame(metadata, -1, 1, ""), edge.UnsupportedVersion, ""},
		"tags cut":           {frame(produce, 9, 1, ""), edge.BadHeader, ""},
		"tag count huge":     {flexible(0xff, 0xff, 0xff, 0xff, 0x0f), edge.BadHeader, ""},
		"tag size huge":      {flexible(1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f), edge.BadHeader, ""},
		"tag varint endless": {flexible(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), edge.BadHeader, ""},
	} {
		b.world.pass(1) // so that each is logged
		before := b.Stats().Refused[c.why]
		p := b.dial()
		p.send(c.bytes)
		if said := p.expectEnd(); said != "" {
			t.Errorf("%s: it was answered %q", name, said)
		}
		until(t, name+" is counted", func() bool { return b.Stats().Refused[c.why] == before+1 })
		if log := b.log.String(); !strings.Contains(log, c.says) || !strings.Contains(log, "reason="+c.why.String()) {
			t.Errorf("%s: no %q of %v in the log:\n%s", name, c.says, c.why, log)
		}
	}
	until(t, "all are gone", func() bool { return b.Stats().Connections == 0 && b.Stats().QueuedBytes == 0 })
}

// TestHTTPIsTold: a browser gets a sentence.
func TestHTTPIsTold(t *testing.T) {
	b := start(t, echo)
	for _, verb := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /topics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"} {
		p := b.dial()
		p.send([]byte(verb))
		said := p.expectEnd()
		if !strings.HasPrefix(said, "HTTP/1.1 400 ") || !strings.Contains(said, "bootstrap.servers="+b.addr) {
			t.Errorf("%.4s was told %q", verb, said)
		}
	}
	until(t, "both are counted", func() bool { return b.Stats().Refused[edge.HTTPClient] == 2 })
}

// TestNoiseIsLoggedOnce: a scanner does not flood the log.
func TestNoiseIsLoggedOnce(t *testing.T) {
	b := start(t, echo)
	for range 20 {
		p := b.dial()
		p.send([]byte("SSH-2.0-scan\r\n"))
		p.expectEnd()
	}
	until(t, "all are counted", func() bool { return b.Stats().Refused[edge.SSHClient] == 20 })
	if n := strings.Count(b.log.String(), "reason=ssh-client"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// TestUnknownVersionOfApiVersions goes to the handler, who answers with what is known.
func TestUnknownVersionOfApiVersions(t *testing.T) {
	b := start(t, func(q *edge.Request) {
		r := q.BeginVersion(0)
		r.Buf = fmt.Appendf(r.Buf, "v%d", q.Version)
		q.Reply()
	})
	p := b.dial()
	p.send(frame(wire.KeyApiVersions, 99, 7, "\x00"))
	p.expect(7, "v99")
}

// TestCutAtEveryByte: a peer that leaves in the middle of a request.
func TestCutAtEveryByte(t *testing.T) {
	b := start(t, echo)
	whole := append(frame(metadata, metadataVersion, 1, "first"), flexible(1, 5, 3, 'a', 'b', 'c')...)
	for n := range len(whole) + 1 {
		p := b.dial()
		p.send(whole[:n])
		p.CloseWrite()
		p.expectEnd()
	}
	until(t, "all are gone", func() bool { return b.Stats().Connections == 0 && b.Stats().QueuedBytes == 0 })
}

func (p *peer) CloseWrite() { p.Conn.(*net.TCPConn).CloseWrite() }

// TestByteByByte: a frame may come in any pieces.
func TestByteByByte(t *testing.T) {
	b := start(t, echo)
	for _, p := range []*peer{b.dial(), b.pipe()} {
		body := strings.Repeat("0123456789", 150)
		f := frame(metadata, metadataVersion, 3, body)
		go func() {
			for i := range f {
				p.Write(f[i : i+1])
			}
		}()
		p.expect(3, body)
	}
}

// TestClaimsCostNothing: half-open connections that claim the largest frame.
func TestClaimsCostNothing(t *testing.T) {
	b := start(t, echo)
	const floods = 500
	before := heap()
	claim := sized(100<<20, "\x00\x00\x00\x08\x00")
	for range floods {
		b.dial().send(claim)
	}
	until(t, "all is read", func() bool { return b.Stats().BytesIn == floods*uint64(len(claim)) })
	if grown := heap() - before; grown > floods*16<<10 {
		t.Errorf("%d claims took %d bytes, %d each", floods, grown, grown/floods)
	}
	if n := b.Stats().QueuedBytes; n != 0 {
		t.Errorf("%d bytes are charged", n)
	}
	p := b.dial()
	p.send(frame(metadata, metadataVersion, 1, "others go on"))
	p.expect(1, "others go on")
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// TestSlowLoris: a byte now and then is no sign of life.
func TestSlowLoris(t *testing.T) {
	b := start(t, echo)
	loris, good := b.dial(), b.dial()
	loris.send(sized(1000, "\x00\x03\x00\x08"))
	for i := range int32(2 * 120) { // of Kafka's ten minutes in ticks of five seconds
		loris.Write([]byte{0})
		good.send(frame(metadata, metadataVersion, i, ""))
		good.expect(i, "")
		b.world.pass(1)
	}
	loris.expectEnd()
	until(t, "it is counted", func() bool { return b.Stats().Refused[edge.IdleTooLong] == 1 })
	if n := b.Stats().Connections; n != 1 {
		t.Errorf("%d connections are open", n)
	}
}

// TestIdleIsClosedButNotParked: waiting for a reply is not being idle.
func TestIdleIsClosedButNotParked(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve, func(o *edge.Options) { o.IdleTimeout = time.Minute })
	idle, waits := b.dial(), b.dial()
	waits.send(frame(fetch, fetchVersion, 1, "x"))
	until(t, "the request is served", func() bool { return park.count() == 1 })
	until(t, "both are there", func() bool { return b.Stats().Connections == 2 })
	b.world.pass(100)
	idle.expectEnd()
	echo(park.take(oldest))
	waits.expect(1, "x")
}

func TestConnectionLimits(t *testing.T) {
	b := start(t, echo, func(o *edge.Options) { o.Limits.Total = 3 })
	var open []*peer
	for i := range int32(3) {
		p := b.dial()
		p.send(frame(metadata, metadataVersion, i, ""))
		p.expect(i, "")
		open = append(open, p)
	}
	b.dial().expectEnd()
	if n := b.Stats().Refused[edge.TooManyConnections]; n != 1 {
		t.Errorf("refused %d", n)
	}
	open[0].Close()
	until(t, "one is gone", func() bool { return b.Stats().Connections == 2 })
	p := b.dial()
	p.send(frame(metadata, metadataVersion, 9, ""))
	p.expect(9, "")
}

func TestConnectionLimitPerAddress(t *testing.T) {
	b := start(t, echo, func(o *edge.Options) { o.Limits.PerIP = 1 })
	first := b.dial()
	first.send(frame(metadata, metadataVersion, 1, ""))
	first.expect(1, "")
	b.dial().expectEnd()
	until(t, "it is counted", func() bool { return b.Stats().Refused[edge.TooManyFromAddress] == 1 })
	if !strings.Contains(b.log.String(), "max.connections.per.ip") {
		t.Error(b.log.String())
	}
}

// TestFrameLimitOfAConnection: less is taken from those who did not authenticate.
func TestFrameLimitOfAConnection(t *testing.T) {
	b := start(t, func(q *edge.Request) {
		q.Conn().SetFrameLimit(1000)
		echo(q)
	})
	p := b.dial()
	p.send(frame(metadata, metadataVersion, 1, strings.Repeat("x", 2000)))
	p.receive()
	p.send(frame(metadata, metadataVersion, 2, strings.Repeat("x", 2000)))
	p.expectEnd()
	until(t, "it is counted", func() bool { return b.Stats().Refused[edge.FrameTooLarge] == 1 })
}

// TestStalledFramesGiveWay: unfinished frames that fill the budget do not stop
// those who would go on.
func TestStalledFramesGiveWay(t *testing.T) {
	const frameBytes = 4 << 20
	b := start(t, echo, func(o *edge.Options) { o.MaxFrameBytes, o.QueuedBytes = frameBytes+100, 1 })
	part := frame(produce, produceVersion, 1, strings.Repeat("x", frameBytes))
	part = part[:len(part)*3/4]
	for range 3 {
		p := b.dial()
		go p.Write(part)
	}
	until(t, "the budget is full", func() bool { return b.Stats().QueuedBytes >= 4<<20 })
	body := strings.Repeat("good", frameBytes/4)
	p := b.dial()
	go p.Write(frame(produce, produceVersion, 7, body))
	answered := make(chan struct{})
	go func() {
		p.expect(7, body)
		close(answered)
	}()
	before, still := uint64(0), 0
	until(t, "the good one is answered", func() bool {
		// Time passes while nobody goes on: for so many looks that a good peer on a busy machine had its turn.
		if now := b.Stats().BytesIn; now != before {
			before, still = now, 0
		} else if still++; still%100 == 0 {
			b.world.pass(1)
		}
		select {
		case <-answered:
			return true
		default:
			return false
		}
	})
	if n := b.Stats().Refused[edge.ReadTooSlow]; n == 0 || n > 3 {
		t.Errorf("%d were given up", n)
	}
}

// TestFramesThatWaitForEachOther: all unfinished frames wait for memory that
// unfinished frames hold. All come through, one after the other.
func TestFramesThatWaitForEachOther(t *testing.T) {
	const frameBytes = 4 << 20
	b := start(t, echo, func(o *edge.Options) { o.MaxFrameBytes, o.QueuedBytes = frameBytes+100, 1 })
	body := strings.Repeat("good", frameBytes/4)
	var ended atomic.Int32
	for i := range int32(20) {
		p := b.dial()
		go p.Write(frame(produce, produceVersion, i, body))
		go func() {
			defer ended.Add(1)
			io.Copy(io.Discard, io.LimitReader(p, frameBytes+8)) //nolint:errcheck // it may be given up
		}()
	}
	until(t, "each is answered", func() bool { return ended.Load() == 20 })
	if n := b.Stats().Refused[edge.ReadTooSlow]; n > 0 {
		t.Errorf("%d of 20 were given up", n)
	}
	until(t, "all is given back", func() bool { return b.Stats().QueuedBytes == 0 })
}

// TestRetainedBytesStay: what is retained outlives the answer and the connection.
func TestRetainedBytesStay(t *testing.T) {
	type kept struct {
		b    *edge.Buffer
		view []byte
		copy []byte
	}
	all := make(chan kept, 1000)
	b := start(t, func(q *edge.Request) {
		all <- kept{q.Retain(), q.Body, bytes.Clone(q.Body)}
		echo(q)
	})
	p := b.dial()
	for i := range int32(300) {
		body := strings.Repeat(string(rune('a'+i%26)), int(i)*100)
		p.send(frame(produce, produceVersion, i, body))
		p.expect(i, body)
	}
	p.Close()
	until(t, "the connection is gone", func() bool { return b.Stats().Connections == 0 })
	close(all)
	for k := range all {
		if !bytes.Equal(k.view, k.copy) {
			t.Fatal("a retained frame has changed")
		}
		k.b.Release()
	}
}
