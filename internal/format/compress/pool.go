package compress

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// This file holds everything that is pooled: a coder has tables of up to some megabytes, which would be
// rebuilt for each batch otherwise. All state in the pools is scratch; no result depends on it.

// maxKept is the largest scratch buffer that goes back to the pool; larger ones are left to the collector,
// so that one huge batch does not pin its size forever.
const maxKept = 4 << 20

// maxZstdWindow is the largest window accepted, as in zstd's own default (a window log of 27).
const maxZstdWindow = 128 << 20

var (
	scratchPool    = sync.Pool{New: func() any { return new(Scratch) }}
	gzipReaders    = sync.Pool{New: func() any { return new(gzipReader) }}
	gzipWriters    [gzip.BestCompression + 1 - gzip.DefaultCompression]sync.Pool
	zstdReaders    sync.Pool
	zstdWriters    [zstd.SpeedBestCompression + 1]sync.Pool
	lz4Compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4Strong      = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

// Scratch is a borrowed buffer for unpacked payloads.
type Scratch struct{ B []byte }

// BorrowScratch lends an empty buffer. Whoever borrows must call Release, and must not touch B afterwards.
func BorrowScratch() *Scratch {
	s := scratchPool.Get().(*Scratch)
	s.B = s.B[:0]
	return s
}

// Release gives the buffer back.
func (s *Scratch) Release() {
	if cap(s.B) > maxKept {
		s.B = nil
	}
	scratchPool.Put(s)
}

type gzipReader struct {
	gzip.Reader
	src bytes.Reader
}

func takeGzipReader() *gzipReader { return gzipReaders.Get().(*gzipReader) }

func (r *gzipReader) release() {
	r.src = bytes.Reader{}
	gzipReaders.Put(r)
}

type gzipWriter struct {
	*gzip.Writer
	level int
}

func takeGzipWriter(level int) *gzipWriter {
	if w, ok := gzipWriters[level-gzip.DefaultCompression].Get().(*gzipWriter); ok {
		return w
	}
	w, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		// The level was clamped by the caller; the default always exists.
		w = gzip.NewWriter(nil)
	}
	return &gzipWriter{Writer: w, level: level}
}

func (w *gzipWriter) release() {
	w.Reset(nil)
	gzipWriters[w.level-gzip.DefaultCompression].Put(w)
}

// packZstd appends one zstd frame. Concurrency 1 makes the coder run on the caller's goroutine.
func packZstd(dst, src []byte, level int) ([]byte, error) {
	speed := zstd.EncoderLevelFromZstd(clampLevel(Zstd, level))
	enc, ok := zstdWriters[speed].Get().(*zstd.Encoder)
	if !ok {
		var err error
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return dst, fmt.Errorf("opening the zstd encoder at level %d: %w", level, err)
		}
	}
	defer zstdWriters[speed].Put(enc)
	return enc.EncodeAll(src, dst), nil
}

// takeZstdReader lends a decoder whose DecodeAll stops at the capacity of its destination.
func takeZstdReader() (*zstd.Decoder, error) {
	if d, ok := zstdReaders.Get().(*zstd.Decoder); ok {
		return d, nil
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("opening the zstd decoder: %w", err)
	}
	return d, nil
}

func releaseZstdReader(d *zstd.Decoder) { zstdReaders.Put(d) }

// packBlockLZ4 packs one block into dst and returns its size, 0 if it does not shrink to dst's length.
func packBlockLZ4(dst, src []byte, level int) (int, error) {
	_, _, preset := LZ4.Levels()
	if level == preset {
		c := lz4Compressors.Get().(*lz4.Compressor)
		defer lz4Compressors.Put(c)
		return c.CompressBlock(src, dst)
	}
	c := lz4Strong.Get().(*lz4.CompressorHC)
	defer lz4Strong.Put(c)
	c.Level = lz4.CompressionLevel(1 << (8 + min(level, 9)))
	return c.CompressBlock(src, dst)
}
