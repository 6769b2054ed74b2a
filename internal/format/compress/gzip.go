package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// gzipMaxRatio is what deflate can reach at best, 1032 to 1: a size in a trailer beyond it is a lie.
const gzipMaxRatio = 1032

// minRead is the room offered to a streaming decoder when its output size is unknown.
const minRead = 4 << 10

func packGzip(dst, src []byte, level int) ([]byte, error) {
	w := takeGzipWriter(clampLevel(Gzip, level))
	defer w.release()
	out := appendWriter{dst}
	w.Reset(&out)
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	return out.b, nil
}

func unpackGzip(dst, src []byte, limit int) ([]byte, error) {
	r := takeGzipReader()
	defer r.release()
	if err := r.reset(src); err != nil {
		return dst, corrupt(Gzip, "header: "+err.Error())
	}
	// The last member's size stands in the last four bytes, modulo 4 GiB: a hint, never trusted.
	hint := min(int(binary.LittleEndian.Uint32(src[len(src)-4:])), limit, gzipMaxRatio*len(src))
	return readBounded(dst, &r.Reader, hint, limit, Gzip)
}

// readBounded appends what r gives, at most limit bytes. hint is the expected size.
func readBounded(dst []byte, r io.Reader, hint, limit int, c Codec) ([]byte, error) {
	start := len(dst)
	end := start + limit
	dst = slices.Grow(dst, hint)
	var probe [1]byte
	for {
		room := min(cap(dst), end) - len(dst)
		if room == 0 {
			// Either all is read, or more is to come: one byte outside tells.
			n, err := r.Read(probe[:])
			switch {
			case n > 0 && len(dst) == end:
				return dst, tooLarge(c, limit)
			case n > 0:
				dst = reserve(dst, 1, end)
				dst = append(dst, probe[0])
			case errors.Is(err, io.EOF):
				return dst, nil
			case err != nil:
				return dst, corrupt(c, err.Error())
			}
			continue
		}
		n, err := r.Read(dst[len(dst) : len(dst)+room])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, corrupt(c, err.Error())
		}
	}
}

// reserve gives dst room for n more bytes. It doubles, so that many small pieces do not copy a growing
// output again and again, but never makes room beyond a length of end.
func reserve(dst []byte, n, end int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return slices.Grow(dst, max(n, min(max(len(dst), minRead), end-len(dst))))
}

// appendWriter is the io.Writer onto a byte slice.
type appendWriter struct{ b []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// reset points the pooled reader at src.
func (r *gzipReader) reset(src []byte) error {
	r.src = *bytes.NewReader(src)
	return r.Reader.Reset(&r.src)
}
