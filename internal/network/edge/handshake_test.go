package edge_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/edge"
)

// secured is a server with a listener for TLS.
func secured(t *testing.T, config *tls.Config, handshaken func(*edge.Conn, tls.ConnectionState) error) (*bench, string) {
	t.Helper()
	b := start(t, echo, func(o *edge.Options) { o.Handshaken = handshaken })
	if config.Certificates == nil {
		config.Certificates = []tls.Certificate{selfSigned(t)}
	}
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	return b, addr.String()
}

// TestHandshakesThatFail: each is counted under its reason and told in one line, and the server goes on.
func TestHandshakesThatFail(t *testing.T) {
	demanding := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}
	hello := func(c net.Conn) { c.Write([]byte{0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3}) }
	client := func(c *tls.Config) func(net.Conn) {
		return func(n net.Conn) {
			s := tls.Client(n, c)
			if s.Handshake() == nil {
				s.Read(make([]byte, 1))
			}
		}
	}
	for _, c := range []struct {
		what   string
		config *tls.Config
		do     func(net.Conn)
		reason edge.Reason
		told   string
	}{
		{"plaintext Kafka", &tls.Config{}, func(c net.Conn) { c.Write(frame(metadata, metadataVersion, 1, "x")) }, edge.PlaintextClient, "security.protocol=SSL"},
		{"HTTP", &tls.Config{}, func(c net.Conn) { fmt.Fprint(c, "GET / HTTP/1.1\r\n\r\n") }, edge.HTTPClient, "wrong port"},
		{"garbage", &tls.Config{}, func(c net.Conn) { c.Write([]byte(strings.Repeat("\xff", 600))) }, edge.PlaintextClient, ""},
		{"a record that is too long", &tls.Config{}, func(c net.Conn) { c.Write([]byte{0x16, 3, 1, 0xff, 0xff, 1, 2, 3}) }, edge.HandshakeFailed, ""},
		{"a hello that is too long", &tls.Config{}, func(c net.Conn) {
			c.Write([]byte{0x16, 3, 1, 0, 200, 1, 0xff, 0xff, 0xff})
			c.Write(make([]byte, 196))
		}, edge.HandshakeFailed, ""},
		{"garbage in a hello", &tls.Config{}, func(c net.Conn) { hello(c); c.Write(make([]byte, 300)) }, edge.HandshakeFailed, ""},
		{"an old version", &tls.Config{MinVersion: tls.VersionTLS13}, client(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}), edge.NoCommonTLS, "ssl.enabled.protocols"},
		{"no certificate", demanding, client(&tls.Config{InsecureSkipVerify: true}), edge.CertificateRefused, "ssl.client.auth=required"},
		{"a stranger's certificate", demanding, client(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{selfSigned(t)}}), edge.CertificateRefused, "not a trusted authority"},
		{"a client that does not trust us", &tls.Config{}, client(&tls.Config{ServerName: "localhost"}), edge.RejectedByPeer, "trust store"},
	} {
		b, addr := secured(t, c.config.Clone(), nil)
		socket, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.do(socket)
		until(t, c.what, func() bool { return b.Stats().Refused[c.reason] == 1 && b.Stats().Connections == 0 })
		socket.Close()
		if !strings.Contains(b.log.String(), c.told) || !strings.Contains(b.log.String(), "reason="+c.reason.String()) {
			t.Errorf("%s: the log says\n%s", c.what, b.log)
		}
	}
}

// TestHandshakesThatStop: peers that fall silent in a handshake cost nobody else's, and go when the server stops.
func TestHandshakesThatStop(t *testing.T) {
	b, addr := secured(t, &tls.Config{}, nil)
	for i := range 600 { // more than there are places
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			c.Write([]byte{0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3})
		}
	}
	until(t, "all have come", func() bool { return b.Stats().Connections == 600 })
	socket, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, socket)
	p.send(frame(metadata, metadataVersion, 7, "still here"))
	p.expect(7, "still here")
	p.Close()
}

// leaping is a world whose monotonic clock stands, and leaps when it is told to.
type leaping struct {
	*world
	ahead atomic.Int64
}

func (l *leaping) Mono() time.Duration { return time.Duration(l.ahead.Load()) }

func (l *leaping) AfterFunc(d time.Duration, f func()) clock.Timer {
	due := l.Mono() + d
	made := make(chan clock.Timer, 1)
	t := l.world.AfterFunc(d, func() {
		if l.Mono() >= due {
			f()
			return
		}
		t := <-made
		t.Reset(0) // not yet
		made <- t
	})
	made <- t
	return t
}

// TestHandshakePlaces: when all places are taken by peers that do not go on, whoever comes is served once they have had
// their time.
func TestHandshakePlaces(t *testing.T) {
	leaps := &leaping{world: new(world)}
	b := start(t, echo, func(o *edge.Options) { o.World = leaps })
	listening, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	const places = 512
	for range places {
		c, err := net.Dial("tcp", listening.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte{0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3})
	}
	until(t, "all have come", func() bool { return b.Stats().Connections == places })
	for i := range int32(3) {
		done := make(chan *tls.Conn, 1)
		go func() {
			socket, err := tls.Dial("tcp", listening.String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
			}
			done <- socket
		}()
		var socket *tls.Conn
		until(t, "somebody gives way", func() bool {
			leaps.ahead.Add(int64(2 * time.Second))
			leaps.pass(1)
			select {
			case socket = <-done:
				return true
			default:
				return false
			}
		})
		p := newPeer(t, socket)
		p.send(frame(metadata, metadataVersion, i, "in between"))
		p.expect(i, "in between")
		p.Close()
	}
}

// TestHandshakesOfOneAddress: an address that takes all places makes room for another one at once, however many of its own wait.
func TestHandshakesOfOneAddress(t *testing.T) {
	leaps := &leaping{world: new(world)}
	b := start(t, echo, func(o *edge.Options) { o.World = leaps })
	listening, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	stall := func(n int) {
		for range n {
			dialFrom(t, "127.0.0.2", listening.String()).Write([]byte{0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3})
		}
	}
	const places, more = 512, 100
	stall(places + more)
	until(t, "all have come", func() bool { return b.Stats().Connections == places+more })
	done := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", listening.String(), &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			err = c.Close()
		}
		done <- err
	}()
	until(t, "it comes", func() bool { return b.Stats().Accepted > places+more })
	stall(more)
	leaps.ahead.Add(int64(150 * time.Millisecond))
	until(t, "it is served", func() bool {
		leaps.pass(1)
		select {
		case err := <-done:
			return err == nil
		default:
			return false
		}
	})
	if n := b.Stats().Refused[edge.HandshakeTooSlow]; n > 10 {
		t.Errorf("%d handshakes were cut for one", n)
	}
}

// late is a world in which every deadline has passed.
type late struct{ *world }

func (l late) Now() time.Time { return l.world.Now().Add(-time.Hour) }

// TestHandshakeInTime: who is not done in time is cut, silent or not.
func TestHandshakeInTime(t *testing.T) {
	b := start(t, echo, func(o *edge.Options) { o.World = late{new(world)} })
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i == 1 {
			c.Write([]byte{0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3})
		}
	}
	until(t, "both are cut", func() bool { return b.Stats().Refused[edge.HandshakeTooSlow] == 2 && b.Stats().Connections == 0 })
	if !strings.Contains(b.log.String(), "was not finished within 10s") {
		t.Errorf("the log says\n%s", b.log)
	}
}

// TestPeerOfHandshake: who the peer is comes from its certificate, or it is not let in.
func TestPeerOfHandshake(t *testing.T) {
	own := selfSigned(t)
	var known atomic.Bool
	known.Store(true)
	b, addr := secured(t, &tls.Config{ClientAuth: tls.RequestClientCert}, func(c *edge.Conn, s tls.ConnectionState) error {
		if !known.Load() {
			return errors.New("no rule for it")
		}
		c.Identity().SetPrincipal(auth.Principal{Type: auth.UserType, Name: fmt.Sprint(len(s.PeerCertificates), " certificate")})
		return nil
	})
	socket, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, socket)
	p.send(frame(metadata, metadataVersion, 1, "x"))
	p.expect(1, "x")
	p.Close()
	known.Store(false)
	if socket, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}); err == nil {
		if _, err := socket.Read(make([]byte, 1)); err == nil {
			t.Error("a peer without a name was let in")
		}
		socket.Close()
	}
	until(t, "it is refused", func() bool { return b.Stats().Refused[edge.PeerUnknown] == 1 })
	if !strings.Contains(b.log.String(), "no rule for it") {
		t.Errorf("the log says\n%s", b.log)
	}
}

// TestLargeOverTLS: frames and answers of megabytes, pipelined, to a peer that reads late.
func TestLargeOverTLS(t *testing.T) {
	_, addr := secured(t, &tls.Config{}, nil)
	socket, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	socket.SetDeadline(time.Now().Add(time.Minute))
	const count, size = 20, 1 << 20
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := range int32(count) {
			if _, e := socket.Write(frame(produce, produceVersion, i, strings.Repeat(string(rune('a'+i)), size))); e != nil {
				err = e
			}
		}
		sent <- err
	}()
	head := make([]byte, 8)
	body := make([]byte, size)
	for i := range count {
		if _, err := io.ReadFull(socket, head); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(socket, body); err != nil {
			t.Fatal(err)
		}
		if n := binary.BigEndian.Uint32(head); n != size+4 || strings.Trim(string(body), string(rune('a'+i))) != "" {
			t.Fatalf("answer %d has %d bytes, or others than were sent", i, n)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	socket.Close()
}

// TestAnswersOverTLSFromElsewhere: small answers go out from the goroutine that gives them, in order, also when the peer
// does not read.
func TestAnswersOverTLSFromElsewhere(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve)
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, socket)
	const count = 200
	body := strings.Repeat("x", 10_000)
	for i := range int32(count) {
		p.send(frame(produce, produceVersion, i, body))
	}
	for range count {
		until(t, "a request is served", func() bool { return park.count() > 0 })
		echo(park.take(oldest))
	}
	for i := range int32(count) {
		p.expect(i, body)
	}
	p.Close()
	until(t, "the connection is gone", func() bool { return b.Stats().Connections == 0 })
}
