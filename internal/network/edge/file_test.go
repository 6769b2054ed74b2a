package edge_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/network/edge"
)

// shared is a file as the log has it: one descriptor for everybody.
type shared struct {
	*os.File
	bare  bool // without a descriptor, as in simulation
	holds atomic.Int32
}

func (f *shared) Descriptor() (uintptr, bool) {
	if f.bare {
		return 0, false
	}
	return f.Fd(), true
}

// Release counts down what hold counted up.
func (f *shared) Release() { f.holds.Add(-1) }

// newShared makes a file of random bytes.
func newShared(t *testing.T, size int) (*shared, []byte) {
	t.Helper()
	data := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(data[i:], rng.Uint64())
	}
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &shared{File: f}, data
}

// region asks the file handler for n bytes at off, as often as wanted in one answer.
type region struct{ off, n int }

func regions(all ...region) string {
	var b []byte
	for _, r := range all {
		b = binary.BigEndian.AppendUint32(b, uint32(r.off))
		b = binary.BigEndian.AppendUint32(b, uint32(r.n))
	}
	return string(b)
}

// serveFile answers each region with "<", its bytes from the file, ">".
func serveFile(f *shared) func(q *edge.Request) {
	return func(q *edge.Request) {
		r := q.Begin()
		for b := q.Body; len(b) > 0; b = b[8:] {
			r.Buf = append(r.Buf, '<')
			f.holds.Add(1)
			r.AddFile(f, int64(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:])), f)
			r.Buf = append(r.Buf, '>')
			r.AddMem([]byte("mem"), nil)
		}
		r.Buf = append(r.Buf, "end"...)
		q.Reply()
	}
}

func wanted(data []byte, all ...region) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteByte('<')
		b.Write(data[r.off : r.off+r.n])
		b.WriteString(">mem")
	}
	return b.String() + "end"
}

// TestFileRegions: regions below and above the size for sendfile, mixed, by
// several consumers of one descriptor at a time.
func TestFileRegions(t *testing.T) {
	const size = 6 << 20
	for _, bare := range []bool{false, true} {
		f, data := newShared(t, size)
		f.bare = bare
		b := start(t, serveFile(f))
		var all sync.WaitGroup
		for i, kind := range []string{"tcp", "tcp", "tcp", "pipe"} {
			p := b.peer(kind)
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 3))
				for n := range int32(30) {
					var ask []region
					for range rng.IntN(40) {
						r := region{off: rng.IntN(size / 2)}
						if r.n = rng.IntN(100 << 10); rng.IntN(10) == 0 {
							r.n = rng.IntN(size / 2)
						}
						ask = append(ask, r)
					}
					if _, err := p.Write(frame(fetch, fetchVersion, n, regions(ask...))); err != nil {
						t.Error(err)
						return
					}
					p.expect(n, wanted(data, ask...))
				}
			})
		}
		all.Wait()
		until(t, "all parts are released", func() bool { return f.holds.Load() == 0 })
	}
}

// TestShortFileEndsTheConnection: bytes that are gone are never made up.
func TestShortFileEndsTheConnection(t *testing.T) {
	f, _ := newShared(t, 1<<20)
	b := start(t, serveFile(f))
	for _, kind := range []string{"tcp", "pipe"} {
		for _, bare := range []bool{false, true} {
			for _, r := range []region{{1<<20 - 100, 200}, {1<<20 - 100<<10, 200 << 10}, {2 << 20, 50 << 10}, {2 << 20, 5}} {
				f.bare = bare
				before := b.Stats().Refused[edge.FileShort]
				p := b.peer(kind)
				p.send(frame(fetch, fetchVersion, 1, regions(r)))
				said := p.expectEnd()
				if len(said) >= 4 && len(said) >= 4+int(binary.BigEndian.Uint32([]byte(said))) {
					t.Errorf("%s: a whole answer of %d bytes for region %v", kind, len(said), r)
				}
				until(t, "it is counted", func() bool { return b.Stats().Refused[edge.FileShort] == before+1 })
			}
		}
	}
	until(t, "all parts are released", func() bool { return f.holds.Load() == 0 })
	if !strings.Contains(b.log.String(), "for a reply") {
		t.Error(b.log.String())
	}
}

// TestSlowPeerDoesNotHoldTheAnswerer: who answers for a peer that does not read
// returns; the peer gets everything when it reads.
func TestSlowPeerDoesNotHoldTheAnswerer(t *testing.T) {
	f, data := newShared(t, 32<<20)
	park := new(parking)
	b := start(t, park.Serve)
	for _, kind := range []string{"tcp", "pipe"} {
		p := b.peer(kind)
		r := region{1000, 31 << 20}
		p.send(frame(fetch, fetchVersion, 1, regions(r)), frame(fetch, fetchVersion, 2, "next"))
		until(t, "it is served", func() bool { return park.count() == 1 })
		serveFile(f)(park.take(oldest)) // must return although nobody reads
		until(t, "the next one is served", func() bool { return park.count() == 1 })
		echo(park.take(oldest))
		p.expect(1, wanted(data, r))
		p.expect(2, "next")
	}
	until(t, "all parts are released", func() bool { return f.holds.Load() == 0 })
}

// TestDeadReaderIsCut: a peer that takes nothing of its reply for a minute.
func TestDeadReaderIsCut(t *testing.T) {
	f, _ := newShared(t, 32<<20)
	park := new(parking)
	b := start(t, park.Serve)
	for _, kind := range []string{"tcp", "pipe"} {
		before := b.Stats().Refused[edge.WriteTooSlow]
		p := b.peer(kind)
		p.send(frame(fetch, fetchVersion, 1, regions(region{0, 32 << 20})))
		until(t, "it is served", func() bool { return park.count() == 1 })
		serveFile(f)(park.take(oldest))
		until(t, "it is cut", func() bool {
			b.world.pass(1)
			return b.Stats().Refused[edge.WriteTooSlow] == before+1
		})
	}
	until(t, "all parts are released", func() bool { return f.holds.Load() == 0 })
}

// TestCutWhileSending: a stop does not wait for a peer that does not read.
func TestCutWhileSending(t *testing.T) {
	f, _ := newShared(t, 32<<20)
	b := start(t, serveFile(f))
	p := b.dial()
	p.send(frame(fetch, fetchVersion, 1, regions(region{0, 32 << 20})))
	until(t, "the answer is on its way", func() bool { return b.Stats().BytesOut > 0 })
	cut := make(chan struct{})
	ctx := contextOf(cut)
	close(cut)
	if err := b.Close(ctx); !errors.Is(err, errCut) {
		t.Error("Close: ", err)
	}
	if n := f.holds.Load(); n != 0 {
		t.Errorf("%d parts are held", n)
	}
}

// TestLargeFrames: requests of several megabytes arrive whole, and their bytes
// were charged and given back.
func TestLargeFrames(t *testing.T) {
	b := start(t, echo)
	for _, kind := range []string{"tcp", "pipe"} {
		p := b.peer(kind)
		for i, size := range []int{100 << 10, 100 << 10, 1 << 20, 70_000, 12 << 20, 5, 20 << 20, 3 << 20} {
			body := bytes.Repeat([]byte{byte(i), byte(size), 7, byte(size >> 8), 3}, size/5)
			go p.Write(frame(produce, produceVersion, int32(i), string(body)))
			p.expect(int32(i), string(body))
		}
	}
	until(t, "all is given back", func() bool { return b.Stats().QueuedBytes == 0 })
}

// TestPipelinedLargeFrames: several large requests behind each other.
func TestPipelinedLargeFrames(t *testing.T) {
	b := start(t, echo)
	for _, kind := range []string{"tcp", "pipe"} {
		p := b.peer(kind)
		rng := rand.New(rand.NewPCG(5, 5))
		var sizes []int
		for range 200 {
			sizes = append(sizes, rng.IntN(150<<10))
		}
		body := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), sizes[i]) }
		go func() {
			for i := range sizes {
				if _, err := io.WriteString(p, string(frame(produce, produceVersion, int32(i), body(i)))); err != nil {
					return
				}
			}
		}()
		for i := range sizes {
			p.expect(int32(i), body(i))
		}
	}
	until(t, "all is given back", func() bool { return b.Stats().QueuedBytes == 0 })
}
