package otlp

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// message builds protobuf: numbers of fields with their values.
type message []byte

func (m message) bytes(number int, v []byte) message {
	m = binary.AppendUvarint(m, uint64(number)<<3|2)
	m = binary.AppendUvarint(m, uint64(len(v)))
	return append(m, v...)
}

func (m message) text(number int, v string) message { return m.bytes(number, []byte(v)) }

func (m message) varint(number int, v uint64) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(number)<<3), v)
}

func (m message) fixed(number int, v uint64) message {
	return binary.LittleEndian.AppendUint64(binary.AppendUvarint(m, uint64(number)<<3|1), v)
}

func (m message) short(number int, v uint32) message {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(m, uint64(number)<<3|5), v)
}

// data wraps metrics into a whole message, with the parts that are skipped.
func data(metrics ...message) []byte {
	scope := message(nil).bytes(1, message(nil).text(1, "scope"))
	for _, m := range metrics {
		scope = scope.bytes(2, m)
	}
	resource := message(nil).bytes(1, message(nil).bytes(1, attribute("client", "c1"))).bytes(2, scope).text(3, "schema")
	return message(nil).bytes(1, resource)
}

func attribute(key, value string) message {
	return message(nil).text(1, key).bytes(2, message(nil).text(1, value))
}

func TestDecode(t *testing.T) {
	point := message(nil).fixed(2, 5).fixed(3, 7).fixed(4, math.Float64bits(1.5)).short(8, 1)
	whole := message(nil).fixed(3, 9).fixed(6, uint64(math.MaxUint64-2)) // -3
	marked := whole.bytes(7, attribute("topic", "t")).
		bytes(7, message(nil).text(1, "n").bytes(2, message(nil).varint(3, 12))).
		bytes(7, message(nil).text(1, "b").bytes(2, message(nil).varint(2, 1))).
		bytes(7, message(nil).text(1, "d").bytes(2, message(nil).fixed(4, math.Float64bits(0.25))))
	histogram := message(nil).fixed(3, 4).fixed(4, 10).fixed(5, math.Float64bits(2.5)).bytes(9, attribute("a", "b"))
	got, err := Decode(data(
		message(nil).bytes(5, message(nil).bytes(1, point)).text(1, "gauge"),
		message(nil).text(1, "sum").bytes(7, message(nil).bytes(1, marked).varint(2, 1).varint(3, 1)),
		message(nil).text(1, "total").bytes(7, message(nil).varint(2, 2).bytes(1, whole)),
		message(nil).text(1, "h").bytes(9, message(nil).varint(2, 1).bytes(1, histogram)),
		message(nil).text(1, "s").bytes(11, message(nil).bytes(1, message(nil).fixed(4, 2))),
		message(nil).text(1, strings.Repeat("x", 300)+"\xff").bytes(5, message(nil).bytes(1, point)),
	))
	if err != nil {
		t.Fatal(err)
	}
	ab := []Attribute{{"a", "b"}}
	want := []Point{
		{Name: "gauge", Value: 1.5, UnixNano: 7},
		{Name: "sum", Value: -3, UnixNano: 9, Delta: true, Monotonic: true, Attributes: []Attribute{{"topic", "t"}, {"n", "12"}, {"b", "true"}, {"d", "0.25"}}},
		{Name: "total", Value: -3, UnixNano: 9},
		{Name: "h.count", Value: 10, UnixNano: 4, Delta: true, Monotonic: true, Attributes: ab},
		{Name: "h.sum", Value: 2.5, UnixNano: 4, Delta: true, Attributes: ab},
		{Name: "s.count", Value: 2, Monotonic: true},
		{Name: strings.Repeat("x", MaxText), Value: 1.5, UnixNano: 7},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestBounds(t *testing.T) {
	var many message
	for range MaxPoints + 1 {
		many = many.bytes(1, message(nil).fixed(4, 0))
	}
	if _, err := Decode(data(message(nil).bytes(5, many))); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d points: %v", MaxPoints+1, err)
	}
	var marked message
	for range MaxAttributes + 1 {
		marked = marked.bytes(7, attribute("a", "b"))
	}
	if _, err := Decode(data(message(nil).bytes(5, message(nil).bytes(1, marked)))); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d attributes: %v", MaxAttributes+1, err)
	}
	for _, bad := range [][]byte{{0x0a}, {0x0a, 5, 1}, {0x00, 1}, {0x0b}, {0x09, 1, 2}, {0x0d, 1}, {0x08, 0x80}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if _, err := Decode(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("% x: %v", bad, err)
		}
	}
	if got, err := Decode(nil); err != nil || got != nil {
		t.Errorf("nothing gives %v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(data(message(nil).text(1, "g").bytes(5, message(nil).bytes(1, message(nil).fixed(4, 1).bytes(7, attribute("a", "b"))))))
	f.Add(data(message(nil).text(1, "h").bytes(9, message(nil).bytes(1, message(nil).fixed(4, 1).fixed(5, 2)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		points, err := Decode(b)
		if err != nil && points != nil {
			t.Fatal("points in spite of an error")
		}
		for _, p := range points {
			if len(p.Name) > 2*MaxText+6 || len(p.Attributes) > MaxAttributes {
				t.Fatalf("beyond the bounds: %+v", p)
			}
		}
	})
}
