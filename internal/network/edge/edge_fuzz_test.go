package edge_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// scripted is a peer that sends the input in pieces of a given length and hangs up.
type scripted struct {
	net.Conn // nothing: for the methods that are not called
	in       *bytes.Reader
	step     int
	once     sync.Once
	closed   chan struct{}
}

func newScripted(in []byte, step int) *scripted {
	return &scripted{in: bytes.NewReader(in), step: step, closed: make(chan struct{})}
}

func (s *scripted) Read(p []byte) (int, error)      { return s.in.Read(p[:min(len(p), s.step)]) }
func (s *scripted) Write(p []byte) (int, error)     { return len(p), nil }
func (s *scripted) RemoteAddr() net.Addr            { return &net.UnixAddr{} }
func (s *scripted) LocalAddr() net.Addr             { return &net.UnixAddr{} }
func (s *scripted) SetReadDeadline(time.Time) error { return nil }

func (s *scripted) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// model reads the frames of a stream as plainly as can be: the bodies that a
// handler must see, in order, until the first frame that cannot be.
func model(stream []byte, limit int) (bodies [][]byte) {
	for len(stream) >= 4 {
		size := int(int32(binary.BigEndian.Uint32(stream)))
		if size < 0 || size > limit || len(stream) < 4+size {
			return bodies
		}
		r := wire.NewReader(stream[4 : 4+size])
		h, err := wire.DecodeRequestHeader(r)
		if err != nil {
			return bodies
		}
		api, ok := wire.Lookup(h.APIKey)
		if !ok || h.APIVersion < 0 || h.APIKey != wire.KeyApiVersions && (h.APIVersion < api.Min || h.APIVersion > api.Max) {
			return bodies
		}
		bodies = append(bodies, stream[4+size-r.Remaining():4+size])
		stream = stream[4+size:]
	}
	return bodies
}

// FuzzFrames feeds a stream in pieces to the frame and header reader and
// compares what reaches the handler with the model.
func FuzzFrames(f *testing.F) {
	small, large := frame(metadata, metadataVersion, 1, "hello"), frame(produce, produceVersion, 2, string(make([]byte, 20_000)))
	tagged := frame(produce, 9, 1, "\x01\x05\x03abcbody")
	f.Add(append(append([]byte{}, small...), tagged...), uint16(3))
	f.Add(append(append([]byte{}, large...), small...), uint16(4000))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(1))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), uint16(9))
	f.Add(sized(-5, "xxxxxxxx"), uint16(2))
	f.Add(frame(wire.KeyApiVersions, 99, 1, "\xff"), uint16(5))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		const limit = 1 << 20
		var got [][]byte
		s := edge.New(edge.Options{MaxFrameBytes: limit, World: new(clock.Real), Handler: serve(func(q *edge.Request) {
			got = append(got, bytes.Clone(q.Body))
			q.ReplyNothing()
		})})
		c := newScripted(stream, int(step)+1)
		s.ServeConn("FUZZ", c)
		<-c.closed
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := model(stream, limit)
		if len(got) != len(want) {
			t.Fatalf("%d requests, want %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("body %d is %q, want %q", i, got[i], want[i])
			}
		}
		if st := s.Stats(); st.QueuedBytes != 0 || st.Connections != 0 {
			t.Fatalf("left behind: %+v", st)
		}
	})
}
