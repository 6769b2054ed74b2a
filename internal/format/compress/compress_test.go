package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

var packed = []Codec{Gzip, Snappy, LZ4, Zstd}

// samples are payloads of many kinds and sizes, around the chunk sizes of the framings.
func samples() [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	words := make([]byte, 0, 300_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
		words = append(words, "etaoin shrdlu"[random.IntN(13)])
	}
	out := [][]byte{nil, {7}, []byte("hello, hello, hello, hello")}
	for _, n := range []int{1 << 10, xerialChunk - 1, xerialChunk, xerialChunk + 1, lz4BlockSize, lz4BlockSize + 1, 300_000} {
		out = append(out, noise[:n], words[:n], make([]byte, n))
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		for i, src := range samples() {
			prefix := []byte("prefix")
			p, err := Compress(prefix, src, c, DefaultLevel)
			if err != nil || !bytes.HasPrefix(p, prefix) {
				t.Fatal(c, i, err)
			}
			got, err := Decompress(prefix, p[len(prefix):], c, len(src))
			if err != nil || !bytes.Equal(got, append(prefix[:6:6], src...)) {
				t.Fatal(c, i, err)
			}
			if len(src) == 0 {
				continue
			}
			for _, limit := range []int{0, len(src) / 2, len(src) - 1} {
				if _, err := Decompress(nil, p[len(prefix):], c, limit); !errors.Is(err, ErrTooLarge) {
					t.Fatalf("%s sample %d of %d bytes, limit %d: %v", c, i, len(src), limit, err)
				}
			}
		}
	}
}

func TestLevels(t *testing.T) {
	src := bytes.Repeat([]byte("level by level, "), 5000)
	for c := None; c <= Zstd; c++ {
		for _, level := range []int{DefaultLevel, -200_000, -5, -1, 0, 1, 3, 6, 9, 12, 17, 22, 1000} {
			p, err := Compress(nil, src, c, level)
			if err != nil {
				t.Fatal(c, level, err)
			}
			if got, err := Decompress(nil, p, c, len(src)); err != nil || !bytes.Equal(got, src) {
				t.Fatal(c, level, err)
			}
		}
	}
}

func TestFranzGoReadsAndWritesTheSame(t *testing.T) {
	codecs := []kgo.CompressionCodec{Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression()}
	for _, c := range packed {
		peer, err := kgo.DefaultCompressor(codecs[c])
		if err != nil {
			t.Fatal(err)
		}
		for i, src := range samples()[1:] {
			theirs, kind := peer.Compress(new(bytes.Buffer), src)
			if Codec(kind) != c {
				t.Fatal(c, i, kind)
			}
			if got, err := Decompress(nil, theirs, c, len(src)); err != nil || !bytes.Equal(got, src) {
				t.Fatal(c, i, err)
			}
			ours, err := Compress(nil, src, c, DefaultLevel)
			if err != nil {
				t.Fatal(err)
			}
			got, err := kgo.DefaultDecompressor().Decompress(ours, kgo.CompressionCodecType(c))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatal(c, i, err)
			}
		}
	}
}

func TestAllFormsOfLZ4Frames(t *testing.T) {
	for i, src := range samples() {
		for _, options := range [][]lz4.Option{
			{},
			{lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(true)},
			{lz4.BlockSizeOption(lz4.Block256Kb), lz4.BlockChecksumOption(true)},
			{lz4.BlockSizeOption(lz4.Block1Mb), lz4.SizeOption(uint64(len(src)))},
			{lz4.BlockSizeOption(lz4.Block4Mb), lz4.CompressionLevelOption(lz4.Level5), lz4.ChecksumOption(true), lz4.BlockChecksumOption(true)},
		} {
			var frame bytes.Buffer
			w := lz4.NewWriter(&frame)
			if err := w.Apply(options...); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(src); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := Decompress(nil, frame.Bytes(), LZ4, len(src)); err != nil || !bytes.Equal(got, src) {
				t.Fatal(i, len(options), err)
			}
			ours, _ := Compress(nil, src, LZ4, 5)
			var back bytes.Buffer
			if _, err := back.ReadFrom(lz4.NewReader(bytes.NewReader(ours))); err != nil || !bytes.Equal(back.Bytes(), src) {
				t.Fatal(i, err)
			}
		}
	}
}

func TestLZ4BlocksThatReferBack(t *testing.T) {
	// "linked": block 1 stores 64 bytes, block 2 copies them by a match into the block before.
	plain := []byte(strings.Repeat("0123456789abcdef", 4))
	frame := []byte{0x04, 0x22, 0x4D, 0x18, 1 << 6, 4 << 4, 0}
	frame[6] = byte(xxh32(frame[4:6]) >> 8)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(plain))|lz4StoredFlag)
	frame = append(frame, plain...)
	// Token: no literal, match of 15+4+32 bytes; then the five last literals that every block has.
	block := []byte{0x0F, 64, 0, 32, 0x50, 'v', 'w', 'x', 'y', 'z'}
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(block)))
	frame = append(frame, block...)
	frame = append(frame, 0, 0, 0, 0)
	want := string(plain) + string(plain[:51]) + "vwxyz"
	got, err := Decompress([]byte("before"), frame, LZ4, 1000)
	if err != nil || string(got) != "before"+want {
		t.Fatalf("%q %v", got, err)
	}
	// In a frame of independent blocks the same reference is corrupt.
	frame[4] |= lz4Independent
	frame[6] = byte(xxh32(frame[4:6]) >> 8)
	if _, err := Decompress(nil, frame, LZ4, 1<<20); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestLZ4HeaderChecksum(t *testing.T) {
	p, err := Compress(nil, []byte("message format 0"), LZ4, DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	p[6]++
	if _, err := Decompress(nil, p, LZ4, 100); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if got, err := DecompressMagic0(nil, p, LZ4, 100); err != nil || string(got) != "message format 0" {
		t.Fatal(err)
	}
}

func TestSnappyForms(t *testing.T) {
	for i, src := range samples() {
		if got, err := Decompress(nil, snappy.Encode(nil, src), Snappy, len(src)); err != nil || !bytes.Equal(got, src) {
			t.Fatal(i, err)
		}
		// Streams appended to each other have the header again between chunks.
		twice := packXerial(packXerial(nil, src), src)
		if got, err := Decompress(nil, twice, Snappy, 2*len(src)); err != nil || !bytes.Equal(got, append(src[:len(src):len(src)], src...)) {
			t.Fatal(i, err)
		}
	}
}

func TestJoinedMembers(t *testing.T) {
	for _, c := range []Codec{Gzip, Zstd} {
		a, _ := Compress(nil, []byte("first, "), c, DefaultLevel)
		b, _ := Compress(a, bytes.Repeat([]byte("second"), 50_000), c, DefaultLevel)
		got, err := Decompress(nil, b, c, 300_007)
		if err != nil || len(got) != 300_007 || !bytes.HasPrefix(got, []byte("first, second")) {
			t.Fatal(c, len(got), err)
		}
		if _, err := Decompress(nil, b, c, 300_006); !errors.Is(err, ErrTooLarge) {
			t.Fatal(c, err)
		}
	}
}

func TestZstdStreamsWithoutContentSize(t *testing.T) {
	for i, src := range samples() {
		var frame bytes.Buffer
		w, err := zstd.NewWriter(&frame, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithWindowSize(1<<17))
		if err != nil {
			t.Fatal(err)
		}
		for rest := src; len(rest) > 0; {
			n := min(len(rest), 7777)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		skippable := append([]byte{0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0}, "abc"...)
		p := append(skippable, frame.Bytes()...)
		if got, err := Decompress(nil, p, Zstd, len(src)); err != nil || !bytes.Equal(got, src) {
			t.Fatal(i, err)
		}
	}
}

// bombs are small payloads that unpack to a lot, or claim to.
func bombs() map[string]struct {
	c Codec
	p []byte
} {
	zeros := make([]byte, 64<<20)
	type bomb = struct {
		c Codec
		p []byte
	}
	out := map[string]bomb{}
	for _, c := range packed {
		p, err := Compress(nil, zeros, c, DefaultLevel)
		if err != nil {
			panic(err)
		}
		out[c.String()] = bomb{c, p}
	}
	rle := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58} // frame without content size, window 2 MiB
	for range 10_000 {
		rle = append(rle, 2, 0, 16, 0) // a repeated byte, 128 KiB long
	}
	out["zstd of repeated bytes"] = bomb{Zstd, append(rle, 1, 0, 0)}
	out["zstd that claims a content size"] = bomb{Zstd, []byte{0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0x0F, 1, 0, 0}}
	out["snappy that claims a size"] = bomb{Snappy, []byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0}}
	out["snappy that claims less than the limit"] = bomb{Snappy, []byte{0x80, 0x80, 0x40, 0}}
	lie := append([]byte(nil), xerialHeader...)
	out["xerial with a long chunk"] = bomb{Snappy, append(lie, 0x7F, 0xFF, 0xFF, 0xFF)}
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	_, _ = w.Write([]byte("small"))
	_ = w.Close()
	g := small.Bytes()
	binary.LittleEndian.PutUint32(g[len(g)-4:], 1<<31)
	out["gzip that claims a size"] = bomb{Gzip, g}
	return out
}

// allocated is the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombsAllocateNoMoreThanTheLimit(t *testing.T) {
	const limit, constant = 1 << 20, 1 << 20
	for _, c := range packed {
		// The coders' own tables are made beforehand.
		p, _ := Compress(nil, []byte("x"), c, DefaultLevel)
		_, _ = Decompress(nil, p, c, 1)
	}
	for name, bomb := range bombs() {
		n := allocated(func() {
			out, err := Decompress(nil, bomb.p, bomb.c, limit)
			if err == nil || cap(out) > 2*limit {
				t.Errorf("%s: %d bytes, error %v", name, len(out), err)
			}
		})
		if n > 3*limit+constant {
			t.Errorf("%s: allocates %d bytes", name, n)
		}
	}
}

func TestCorruptPayloads(t *testing.T) {
	src := []byte(strings.Repeat("some text that repeats, some text that does not ", 40))
	for _, c := range packed {
		p, err := Compress(nil, src, c, DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(p) - 1 {
			if got, err := Decompress(nil, p[:n], c, 1<<16); err == nil && !bytes.HasPrefix(src, got) {
				t.Fatalf("%s cut to %d of %d bytes gives %d bytes", c, n, len(p), len(got))
			} else if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(c, n, err)
			}
		}
	}
	if _, err := Decompress(nil, src, 5, 1<<16); !errors.Is(err, ErrUnknownCodec) {
		t.Fatal(err)
	}
	if _, err := Compress(nil, src, -1, 0); !errors.Is(err, ErrUnknownCodec) {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	if s := Zstd.String(); s != "zstd" {
		t.Fatal(s)
	}
	if s := fmt.Sprint(Codec(7)); s != "codec(7)" {
		t.Fatal(s)
	}
}

func TestXXH32(t *testing.T) {
	// The published vectors for seed 0.
	for text, want := range map[string]uint32{
		"": 0x02CC5D05, "a": 0x550D7456, "abc": 0x32D153FF, "abcdefghijklmnopqrstuvwxyz": 0x63A14D5F,
	} {
		if got := xxh32([]byte(text)); got != want {
			t.Errorf("%q: want %08x, got %08x", text, want, got)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, c := range packed {
		for _, src := range samples()[:4] {
			p, _ := Compress(nil, src, c, DefaultLevel)
			f.Add(int8(c), p)
		}
	}
	f.Fuzz(func(t *testing.T, id int8, p []byte) {
		const limit = 1 << 18
		out, err := Decompress(nil, p, Codec(id), limit)
		if err == nil && len(out) > limit {
			t.Fatal("more than the limit")
		}
		if cap(out) > 2*limit+1<<16 {
			t.Fatal("room of", cap(out), "bytes")
		}
		_, _ = DecompressMagic0(nil, p, Codec(id), limit)
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(int8(1), 3, []byte("seed"))
	f.Fuzz(func(t *testing.T, id int8, level int, src []byte) {
		c := Codec(id)
		p, err := Compress(nil, src, c, level)
		if !c.Valid() {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(nil, p, c, len(src)); err != nil || !bytes.Equal(got, src) {
			t.Fatal(err)
		}
	})
}
