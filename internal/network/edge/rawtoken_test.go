package edge_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// tokens is a handler that takes bare tokens after the first request, until one says "end".
type tokens struct{ t *testing.T }

func (h tokens) Serve(q *edge.Request) {
	if q.Key != wire.KeySaslAuthenticate || q.Version != edge.TokenVersion {
		edge.TakeTokens(q.Conn(), true)
		resp := q.Begin()
		resp.Buf = append(resp.Buf, "hello"...)
		q.Reply()
		return
	}
	if string(q.Body) == "end" {
		edge.TakeTokens(q.Conn(), false)
	}
	resp := q.BeginToken()
	resp.Buf = append(resp.Buf, bytes.ToUpper(q.Body)...)
	q.Reply()
}

func prefixed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// TestTokens sends bare tokens, the empty one among them, between two requests with headers.
func TestTokens(t *testing.T) {
	s := edge.New(edge.Options{Handler: tokens{t}, World: new(clock.Real), FirstFrameBytes: map[string]int32{"SMALL": 64}})
	addr, err := s.Listen("SMALL", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background()) //nolint:errcheck // nothing is under way
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // only read from
	request := wire.AppendRequestFrame(nil, &wire.RequestHeader{APIKey: wire.KeySaslHandshake, CorrelationID: 7}, &wire.SaslHandshakeRequest{})
	out := append([]byte{}, request...)
	for _, token := range []string{"", "a", "\x00\x03\x00\x00", "end"} {
		out = append(out, prefixed([]byte(token))...)
	}
	out = append(out, request...)
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	want := prefixed([]byte("\x00\x00\x00\x07hello"))
	for _, answer := range []string{"", "A", "\x00\x03\x00\x00", "END", "\x00\x00\x00\x07hello"} {
		want = append(want, prefixed([]byte(answer))...)
	}
	got := make([]byte, len(want))
	if _, err := readFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	// A frame above the first bound ends the connection.
	if _, err := c.Write(prefixed([]byte(strings.Repeat("x", 65)))); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(got); err == nil {
		t.Fatalf("a large frame was answered with %d bytes", n)
	}
}

func readFull(c net.Conn, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = c.Read(b[n:])
		n += m
	}
	return n, err
}
