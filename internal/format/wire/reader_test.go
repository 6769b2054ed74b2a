package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allowed is the bound on what decoding n bytes may allocate, with what the allocator's size classes waste.
func allowed(n int) uint64 {
	bound := AllocationFactor*uint64(n) + AllocationSlack
	return bound + bound/4 + 4096
}

func TestReaderNumbers(t *testing.T) {
	var b []byte
	b = AppendBool(b, true)
	b = AppendInt8(b, -2)
	b = AppendInt16(b, math.MinInt16)
	b = AppendUint16(b, math.MaxUint16)
	b = AppendInt32(b, math.MinInt32)
	b = AppendUint32(b, math.MaxUint32)
	b = AppendInt64(b, math.MinInt64)
	b = AppendFloat64(b, -0.5)
	b = AppendUUID(b, UUID{1, 15: 9})
	b = AppendUvarint(b, math.MaxUint32)
	b = AppendVarint(b, math.MinInt32)
	b = AppendVarlong(b, math.MinInt64)
	r := NewReader(b)
	got := []any{
		r.Bool(), r.Int8(), r.Int16(), r.Uint16(), r.Int32(), r.Uint32(), r.Int64(), r.Float64(), r.UUID(), r.Uvarint(),
		r.Varint(), r.Varlong(),
	}
	want := []any{
		true, int8(-2), int16(math.MinInt16), uint16(math.MaxUint16), int32(math.MinInt32), uint32(math.MaxUint32),
		int64(math.MinInt64), -0.5, UUID{1, 15: 9}, uint32(math.MaxUint32), int32(math.MinInt32), int64(math.MinInt64),
	}
	if !reflect.DeepEqual(got, want) || r.Finish() != nil {
		t.Errorf("got %v, want %v, error %v", got, want, r.Err())
	}
}

func TestReaderStrings(t *testing.T) {
	word := "wörd"
	var b []byte
	b = AppendString(b, word)
	b = AppendNullableString(b, nil)
	b = AppendNullableString(b, &word)
	b = AppendCompactString(b, word)
	b = AppendCompactNullableString(b, nil)
	b = AppendCompactNullableString(b, &word)
	for _, alias := range []bool{false, true} {
		r := NewReader(bytes.Clone(b))
		r.AliasStrings = alias
		got := []any{
			r.String(), r.NullableString(), r.NullableString(), r.CompactString(), r.CompactNullableString(),
			r.CompactNullableString(),
		}
		want := []any{word, (*string)(nil), &word, word, (*string)(nil), &word}
		if !reflect.DeepEqual(got, want) || r.Finish() != nil {
			t.Errorf("alias %v: got %v, want %v, error %v", alias, got, want, r.Err())
		}
	}
}

func TestReaderBytes(t *testing.T) {
	in := []byte{0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff, 2, 8, 0, 1}
	r := NewReader(in)
	got := [][]byte{r.Bytes(), r.NullableBytes(), r.CompactBytes(), r.CompactNullableBytes(), r.CompactBytes()}
	want := [][]byte{{7}, nil, {8}, nil, {}}
	if !reflect.DeepEqual(got, want) || r.Finish() != nil {
		t.Errorf("got %v, want %v, error %v", got, want, r.Err())
	}
	in[4] = 9
	if got[0][0] != 7 {
		t.Error("bytes alias the input")
	}
}

func TestReaderReplacesInvalidText(t *testing.T) {
	r := NewReader([]byte{0, 4, 'a', 0xff, 0xc3, 'b'})
	if got := r.String(); got != "a\ufffd\ufffdb" || r.Finish() != nil {
		t.Errorf("got %q, error %v", got, r.Err())
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		read func(*Reader)
		want string
	}{
		{"short number", []byte{1, 2, 3}, func(r *Reader) { r.Int32() }, "shorter than its fields"},
		{"short string", []byte{0, 3, 'a'}, func(r *Reader) { _ = r.String() }, "shorter than its fields"},
		{"null string", []byte{0xff, 0xff}, func(r *Reader) { _ = r.String() }, "must not be null"},
		{"null compact string", []byte{0}, func(r *Reader) { r.CompactString() }, "must not be null"},
		{"negative string", []byte{0xff, 0xfe}, func(r *Reader) { r.NullableString() }, "impossible length -2"},
		{"long string", AppendUvarint(nil, 32769), func(r *Reader) { r.CompactString() }, "impossible length 32768"},
		{"null bytes", []byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) { r.Bytes() }, "must not be null"},
		{"negative bytes", []byte{0x80, 0, 0, 0}, func(r *Reader) { r.NullableBytes() }, "impossible length"},
		{"long varint", []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, func(r *Reader) { r.Uvarint() }, "exceeds 32 bits"},
		{"endless varint", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 1}, func(r *Reader) { r.Uvarint() }, "exceeds 32 bits"},
		{"cut varint", []byte{0x80}, func(r *Reader) { r.Uvarint() }, "within a number"},
		{"cut varlong", []byte{0x80}, func(r *Reader) { r.Varlong() }, "is cut"},
		{"trailing byte", []byte{1, 2}, func(r *Reader) { r.Bool() }, "bytes follow"},
		{"negative array", []byte{0xff, 0xff, 0xff, 0xfe}, func(r *Reader) { r.int32s(nil, true) }, "impossible length -2"},
		{"null array", []byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) { r.int32s(nil, false) }, "must not be null"},
		{"long array", []byte{0, 0, 0, 2, 0, 0, 0, 1}, func(r *Reader) { r.int32s(nil, false) }, "more elements"},
		{"null records", []byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) { r.records(false) }, "must not be null"},
		{"many tags", []byte{5, 1, 0}, func(r *Reader) { r.skipTags() }, "more fields"},
		{"long tag", []byte{1, 1, 9, 0}, func(r *Reader) { r.skipTags() }, "longer than the message"},
	} {
		r := NewReader(c.in)
		c.read(r)
		err := r.Finish()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if r.Remaining() != 0 && err == nil {
			t.Errorf("%s: input remains", c.name)
		}
	}
}

func TestKnownTagMustHaveItsSize(t *testing.T) {
	m := FetchRequest{}
	m.SetDefaults()
	cluster := "abc"
	m.ClusterID = &cluster
	b := m.Append(nil, 12)
	at := bytes.LastIndex(b, []byte("\x04abc"))
	b[at-1]++ // the size in front of the value
	b = append(b, 0)
	r := NewReader(b)
	if m.Decode(r, 12); r.Finish() == nil {
		t.Error("a tagged field with a wrong size was accepted")
	}
}

func TestUnknownTagsAreSkipped(t *testing.T) {
	m := HeartbeatRequest{GroupID: "g"}
	b := m.Append(nil, 4)
	b = append(b[:len(b)-1], 2, 9, 3, 'x', 'y', 'z', 0x80, 0x01, 0)
	var got HeartbeatRequest
	r := NewReader(b)
	if got.Decode(r, 4); r.Finish() != nil || got.GroupID != "g" {
		t.Errorf("got %+v, error %v", got, r.Err())
	}
}

func TestDecodeRefusesUnknownVersions(t *testing.T) {
	for i := range APIs {
		a := &APIs[i]
		if a.NewRequest == nil {
			continue
		}
		for _, version := range []int16{a.Min - 1, a.Max + 1} {
			r := NewReader(make([]byte, 64))
			if a.NewRequest().Decode(r, version); r.Err() == nil {
				t.Errorf("%s: version %d was accepted", a.Name, version)
			}
		}
	}
}

// TestHostileClaimsAreBounded feeds every request with claims of huge arrays, strings and tag sections.
func TestHostileClaimsAreBounded(t *testing.T) {
	patterns := map[string]func([]byte){
		"ones":         func(b []byte) { fillWith(b, 1) },
		"twos":         func(b []byte) { fillWith(b, 2) },
		"zeros":        func(b []byte) { fillWith(b, 0) },
		"sevens":       func(b []byte) { fillWith(b, 0x7f) },
		"huge varints": func(b []byte) { repeat(b, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}) },
		"big varints":  func(b []byte) { repeat(b, []byte{0x80, 0x80, 0x02}) },
		"big arrays":   func(b []byte) { repeat(b, []byte{0, 0, 0x10, 0}) },
		"mixed":        func(b []byte) { repeat(b, []byte{0, 1, 'a', 0, 0, 0, 3, 0, 0, 0, 0, 2, 'b', 0}) },
	}
	for name, pattern := range patterns {
		in := make([]byte, 256<<10)
		pattern(in)
		for i := range APIs {
			a := &APIs[i]
			for version := a.Min; version <= a.Max; version++ {
				m := a.NewRequest()
				for skip := range 3 {
					in := in[skip:]
					if n := allocated(func() { m.Decode(NewReader(in), version) }); n > allowed(len(in)) {
						t.Errorf("%s: %s %d allocates %d bytes for %d", name, a.Name, version, n, len(in))
					}
				}
			}
		}
	}
}

func fillWith(b []byte, v byte) { repeat(b, []byte{v}) }

func repeat(b, pattern []byte) {
	for i := range b {
		b[i] = pattern[i%len(pattern)]
	}
}

func TestClaimedCountsAreChecked(t *testing.T) {
	// 50 million tags in a body of six bytes; a loop over them would be felt.
	in := binary.AppendUvarint(nil, 50_000_000)
	var m ApiVersionsRequest
	r := NewReader(append([]byte{2, 'a', 2, 'b'}, in...))
	if m.Decode(r, 3); r.Err() == nil {
		t.Error("a claim of 50 million tags was accepted")
	}
}
