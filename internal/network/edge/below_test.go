package edge_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/network/edge"
)

// heard is a socket that keeps the kind and length of the last TLS record that came.
type heard struct {
	net.Conn
	mu sync.Mutex
	b  []byte
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.mu.Lock()
	h.b = append(h.b, p[:n]...)
	h.mu.Unlock()
	return n, err
}

// last is the last record's type and length.
func (h *heard) last() (kind byte, length int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for b := h.b; len(b) >= 5; {
		kind, length = b[0], int(binary.BigEndian.Uint16(b[3:]))
		b = b[min(len(b), 5+length):]
	}
	return kind, length
}

// TestGoodbyeOverTLS: whenever a connection ends between two answers, the peer is told, so that it knows nothing is missing.
func TestGoodbyeOverTLS(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(t *testing.T, b *bench, p *peer)
	}{
		{"the server stops", func(t *testing.T, b *bench, _ *peer) { b.Close(context.Background()) }},
		{"the peer says good-bye", func(_ *testing.T, _ *bench, p *peer) { p.Conn.(*tls.Conn).CloseWrite() }},
		{"a request that ends it", func(_ *testing.T, _ *bench, p *peer) { p.send(frame(metadata, metadataVersion, 2, "go")) }},
		{"a request that is answered and ends it", func(_ *testing.T, _ *bench, p *peer) {
			p.send(frame(metadata, metadataVersion, 2, "and go"))
			p.expect(2, "and go")
		}},
		{"a frame that is too large", func(_ *testing.T, _ *bench, p *peer) { p.send([]byte{0x7f, 0xff, 0xff, 0xff}) }},
		{"silence", func(t *testing.T, b *bench, _ *peer) {
			until(t, "it is closed", func() bool { b.world.pass(1); return b.Stats().Refused[edge.IdleTooLong] == 1 })
		}},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			b := start(t, func(q *edge.Request) {
				switch string(q.Body) {
				case "go":
					q.Hangup(errors.New("as it asked"))
				case "and go":
					r := q.Begin()
					r.Buf = append(r.Buf, q.Body...)
					q.ReplyAndHangup(errors.New("as it asked"))
				default:
					echo(q)
				}
			}, func(o *edge.Options) { o.IdleTimeout = time.Minute })
			addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			h := &heard{Conn: raw}
			p := newPeer(t, tls.Client(h, &tls.Config{InsecureSkipVerify: true, MaxVersion: version}))
			p.send(frame(metadata, metadataVersion, 1, "x"))
			p.expect(1, "x")
			c.do(t, b, p)
			p.expectEnd()
			kind, length := h.last()
			// In TLS 1.3 an alert of two bytes is hidden in a record of 19.
			if want := map[uint16]byte{tls.VersionTLS12: 21, tls.VersionTLS13: 23}[version]; kind != want || version == tls.VersionTLS13 && length != 19 {
				t.Errorf("%s, version %x: the last record has type %d and %d bytes", c.what, version, kind, length)
			}
			p.Close()
			until(t, "the connection is gone", func() bool { return b.Stats().Connections == 0 })
		}
	}
}

// TestGoodbyeToTheDeaf: a peer that does not read is not waited for.
func TestGoodbyeToTheDeaf(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	b := start(t, func(q *edge.Request) {
		r := q.Begin()
		r.Buf = append(r.Buf, big...)
		q.Reply()
	}, func(o *edge.Options) { o.SendBuffer = 4 << 10 })
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for i := range int32(100) {
		socket.Write(frame(metadata, metadataVersion, i, "x"))
	}
	until(t, "it is being answered", func() bool { return b.Stats().Requests > 0 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.Close(ctx)
}

// rekeying is a client of TLS 1.3 that makes its own records.
type rekeying struct {
	net.Conn
	t      *testing.T
	secret []byte
	seal   cipher.AEAD
	iv     []byte
	seq    uint64
}

func (r *rekeying) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(6+len(label))), "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, r.secret, string(append(info, 0)), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rekeying) rekey(secret []byte) {
	r.secret = secret
	block, err := aes.NewCipher(r.expand("key", 16))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.seal, err = cipher.NewGCM(block); err != nil {
		r.t.Fatal(err)
	}
	r.iv, r.seq = r.expand("iv", 12), 0
}

// record makes a record.
func (r *rekeying) record(kind byte, content ...byte) []byte {
	nonce := bytes.Clone(r.iv)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^r.seq)
	r.seq++
	inner := append(bytes.Clone(content), kind)
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+r.seal.Overhead()))
	return append(head, r.seal.Seal(nil, nonce, inner, head)...)
}

// newKeys asks the server to change its keys, which it must answer.
func (r *rekeying) newKeys() []byte {
	out := r.record(22, 24, 0, 0, 1, 1)
	r.rekey(r.expand("traffic upd", 32))
	return out
}

// dialRekeying shakes hands as others do.
func dialRekeying(t *testing.T, addr string) *rekeying {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	raw.(*net.TCPConn).SetReadBuffer(4 << 10)
	var keys strings.Builder
	if err := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &keys}).Handshake(); err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(keys.String(), "CLIENT_TRAFFIC_SECRET_0 ")
	fields := strings.Fields(line)
	secret, err := hex.DecodeString(fields[1])
	if err != nil || len(secret) != sha256.Size {
		t.Fatalf("the secret has %d bytes, %v", len(secret), err)
	}
	r := &rekeying{Conn: raw, t: t}
	r.rekey(secret)
	return r
}

// TestKeysChangedWithoutEnd: a client that has the server change its keys, again and again, and does not read the
// answers, keeps nobody waiting who comes with an answer to a request.
func TestKeysChangedWithoutEnd(t *testing.T) {
	park := new(parking)
	b := start(t, park.Serve, func(o *edge.Options) { o.SendBuffer = 4 << 10 })
	addr, err := b.ListenTLS("SSL", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	if err != nil {
		t.Fatal(err)
	}
	r := dialRekeying(t, addr.String())
	defer r.Close()
	r.Write(r.record(23, frame(produce, produceVersion, 1, "x")...))
	until(t, "it is served", func() bool { return park.count() == 1 })
	long := frame(produce, produceVersion, 2, strings.Repeat("y", 60_000))
	gone := func() bool { return b.Stats().Refused[edge.WriteTooSlow] == 1 }
	for i := 0; i < len(long) && !gone(); i++ {
		flood := r.record(23, long[i])
		for range 8 {
			flood = append(flood, r.newKeys()...)
		}
		r.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := r.Write(flood); err != nil {
			break
		}
	}
	answered := make(chan struct{})
	go func() {
		echo(park.take(oldest))
		close(answered)
	}()
	until(t, "the answer is given", func() bool {
		select {
		case <-answered:
			return true
		default:
			return false
		}
	})
	// TCP may stall under so many small pieces before our bound is reached; then the end comes from the peer.
	r.Close()
	until(t, "it is gone", func() bool { return b.Stats().Connections == 0 })
}
