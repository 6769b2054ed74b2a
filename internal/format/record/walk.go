package record

import "math"

// minRecord is the smallest record behind its length: attributes, four varints and the header count.
const minRecord = 6

// walkInfo is what one pass over the unpacked records of a batch finds.
type walkInfo struct {
	// minTimestamp and maxTimestamp in ms; maxIndex is the first record that has maxTimestamp.
	minTimestamp, maxTimestamp int64
	maxIndex                   int32
	nullKey                    bool
}

// walk checks that p holds exactly count records with offset deltas 0, 1, 2 … whose lengths add up, and
// collects timestamps. It is the hottest loop of the produce path: it reports only that something is
// wrong, and walkError finds out what.
func walk(p []byte, count int32, baseTimestamp int64) (w walkInfo, ok bool) {
	w = walkInfo{minTimestamp: math.MaxInt64, maxTimestamp: NoTimestamp}
	keys := int32(0)
	for n := range count {
		// Nearly all lengths take one or two bytes; so do the deltas.
		var size int32
		at := 0
		switch {
		case len(p) > 1 && p[0] < 0x80:
			size, at = unzig(uint32(p[0])), 1
		case len(p) > 2 && p[1] < 0x80:
			size, at = unzig(uint32(p[0]&0x7f)|uint32(p[1])<<7), 2
		default:
			size, at = varint(p, 0)
		}
		if at < 0 || size < minRecord || int(size) > len(p)-at {
			return w, false
		}
		r := p[at : at+int(size)]
		p = p[at+int(size):]

		var delta int64
		at = 1
		switch {
		case r[1] < 0x80:
			delta, at = int64(unzig(uint32(r[1]))), 2
		case r[2] < 0x80:
			delta, at = int64(unzig(uint32(r[1]&0x7f)|uint32(r[2])<<7)), 3
		default:
			if delta, at = varlong(r, 1); at < 0 {
				return w, false
			}
		}
		if t := baseTimestamp + delta; t > w.maxTimestamp {
			w.maxTimestamp, w.maxIndex = t, n
		}
		w.minTimestamp = min(w.minTimestamp, baseTimestamp+delta)

		// The offset delta is known, so its encoding is compared; a longer one of the same number is read.
		u := uint32(n) << 1
		if u < 0x80 && at < len(r) && r[at] == byte(u) {
			at++
		} else if u < 1<<14 && at+1 < len(r) && r[at] == byte(u)|0x80 && r[at+1] == byte(u>>7) {
			at += 2
		} else {
			var offset int32
			if offset, at = varint(r, at); at < 0 || offset != n {
				return w, false
			}
		}

		length, next := shortVarint(r, at)
		if next == 0 {
			length, next = varint(r, at)
		}
		if next < 0 || int(length) > len(r)-next {
			return w, false
		}
		at = next
		if length >= 0 {
			keys++
			at += int(length)
		}
		if length, next = shortVarint(r, at); next == 0 {
			length, next = varint(r, at)
		}
		if next < 0 || int(length) > len(r)-next {
			return w, false
		}
		at = next + max(0, int(length))
		if at == len(r)-1 && r[at] == 0 {
			continue
		}
		if !walkHeaders(r, at) {
			return w, false
		}
	}
	w.nullKey = keys != count
	return w, len(p) == 0
}

func unzig(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }

// shortVarint reads a varint of one or two bytes that does not end b; otherwise next is 0. It is small
// enough to be inlined.
func shortVarint(b []byte, p int) (v int32, next int) {
	if p+1 < len(b) {
		c, d := uint32(b[p]), uint32(b[p+1])
		if c < 0x80 {
			return unzig(c), p + 1
		}
		if d < 0x80 {
			return unzig(c&0x7f | d<<7), p + 2
		}
	}
	return 0, 0
}

// walkHeaders checks that r from p on is a header count and that many headers, and nothing more.
func walkHeaders(r []byte, p int) bool {
	count, p := varint(r, p)
	if p < 0 || count < 0 || int(count) > len(r)-p {
		return false
	}
	for range count {
		var size int32
		if size, p = varint(r, p); p < 0 || size < 0 || int(size) > len(r)-p {
			return false
		}
		p += int(size)
		if size, p = varint(r, p); p < 0 || int(size) > len(r)-p {
			return false
		}
		p += max(0, int(size))
	}
	return p == len(r)
}

// walkError finds what walk stumbled over.
func walkError(p []byte, count int32) *Error {
	at := 0
	for n := range count {
		size, next := varint(p, at)
		if next < 0 {
			return errorf(InvalidRecord, "record batch ends within record %d of %d", n, count)
		}
		if size < minRecord || int(size) > len(p)-next {
			return errorf(InvalidRecord, "record %d claims a size of %d bytes, %d bytes are left in the batch",
				n, size, len(p)-next)
		}
		r := p[next : next+int(size)]
		at = next + int(size)
		_, q := varlong(r, 1)
		var offset int32
		if q > 0 {
			offset, q = varint(r, q)
		}
		if q > 0 && offset != n {
			return errorf(InvalidRecord, "record %d has the offset delta %d; deltas must count up from 0", n, offset)
		}
		q = skipField(r, q)
		q = skipField(r, q)
		if q < 0 || !walkHeaders(r, q) {
			return errorf(InvalidRecord, "record %d: timestamp, key, value and headers do not fill its %d bytes",
				n, size)
		}
	}
	return errorf(InvalidRecord, "%d bytes follow the %d records that the batch declares", len(p)-at, count)
}

// skipField moves over a nullable byte string; -1 stays -1.
func skipField(r []byte, p int) int {
	if p < 0 {
		return -1
	}
	size, p := varint(r, p)
	if p < 0 || int(size) > len(r)-p {
		return -1
	}
	return p + max(0, int(size))
}
