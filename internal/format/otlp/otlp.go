// Package otlp reads metrics as clients push them: the MetricsData message of
// the OpenTelemetry protocol (KIP-714).
//
// Duty: [Decode] turns bytes into points, one number each. It reads what clients of Kafka send (sums
// and gauges) and of the other kinds the count and the sum; what it does not know it skips, as protobuf asks.
//
// Invariants: what a message can make it allocate is bounded by [MaxPoints], [MaxAttributes] and
// [MaxText], and its texts are copies; nested values are not followed.
//
// Called by node/telemetry with bytes from the network. It must never panic on any input.
package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of one message.
const (
	// MaxPoints is how many points one message may have.
	MaxPoints = 16384
	// MaxAttributes is how many attributes a point may have, those of its resource not counted.
	MaxAttributes = 32
	// MaxText is the length of a name, an attribute's key or its value; what is longer is cut.
	MaxText = 256
)

// ErrMalformed is in the error of a message that is not one.
var ErrMalformed = errors.New("malformed metrics")

// ErrTooMany is in the error of a message beyond the bounds.
var ErrTooMany = errors.New("too many metrics in one message")

// Attribute is one property of a point.
type Attribute struct{ Key, Value string }

// Point is one number of one series.
type Point struct {
	// Name is the metric's, with ".count" or ".sum" behind it for a distribution.
	Name       string
	Attributes []Attribute
	Value      float64
	// UnixNano is when the number was taken, 0 if the client does not say.
	UnixNano uint64
	// Delta: the number is what was added since the last push.
	Delta bool
	// Monotonic: the sum never goes down.
	Monotonic bool
}

// Decode reads a MetricsData message.
func Decode(b []byte) ([]Point, error) {
	d := &decoder{}
	err := fields(b, func(f field) error {
		if f.number == 1 {
			return d.resource(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.points, nil
}

// field is one field of a message.
type field struct {
	number int
	// bytes is a value with a length; bits is any other.
	bytes []byte
	bits  uint64
}

// fields calls f for each field of a message.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
			return fmt.Errorf("%w: a field's tag", ErrMalformed)
		}
		b = b[n:]
		v := field{number: int(tag >> 3)}
		switch tag & 7 {
		case 0:
			if v.bits, n = binary.Uvarint(b); n <= 0 {
				return fmt.Errorf("%w: the number of field %d", ErrMalformed, v.number)
			}
			b = b[n:]
		case 1:
			if len(b) < 8 {
				return fmt.Errorf("%w: field %d ends early", ErrMalformed, v.number)
			}
			v.bits, b = binary.LittleEndian.Uint64(b), b[8:]
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 || size > uint64(len(b)-n) {
				return fmt.Errorf("%w: the length of field %d", ErrMalformed, v.number)
			}
			v.bytes, b = b[n:n+int(size)], b[n+int(size):]
		case 5:
			if len(b) < 4 {
				return fmt.Errorf("%w: field %d ends early", ErrMalformed, v.number)
			}
			v.bits, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		default:
			return fmt.Errorf("%w: field %d has wire type %d", ErrMalformed, v.number, tag&7)
		}
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// decoder gathers the points of a message.
type decoder struct {
	points []Point
	// now is the metric whose points are being read.
	now Point
	// seen counts attributes of all points.
	seen int
}

func (d *decoder) resource(b []byte) error {
	return fields(b, func(f field) error {
		if f.number != 2 {
			return nil
		}
		return fields(f.bytes, func(f field) error { // a scope
			if f.number != 2 {
				return nil
			}
			return d.metric(f.bytes)
		})
	})
}

// metric reads one metric: its name first, since its points may come before.
func (d *decoder) metric(b []byte) error {
	d.now = Point{}
	err := fields(b, func(f field) error {
		if f.number == 1 {
			d.now.Name = clip(f.bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fields(b, func(f field) error {
		switch f.number {
		case 5: // gauge
			return d.numbers(f.bytes, d.number)
		case 7: // sum
			return d.numbers(f.bytes, d.number)
		case 9, 10, 11: // histogram, exponential histogram, summary
			return d.numbers(f.bytes, func(b []byte) error { return d.distribution(b, f.number) })
		}
		return nil
	})
}

// numbers reads the points of a metric; how they add up is said before them or behind.
func (d *decoder) numbers(b []byte, point func([]byte) error) error {
	d.now.Delta, d.now.Monotonic = false, false
	err := fields(b, func(f field) error {
		switch {
		case f.number == 2 && f.bytes == nil:
			d.now.Delta = f.bits == 1
		case f.number == 3:
			d.now.Monotonic = f.bits != 0
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fields(b, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return point(f.bytes)
	})
}

func (d *decoder) number(b []byte) error {
	p := d.now
	err := fields(b, func(f field) error {
		switch f.number {
		case 3:
			p.UnixNano = f.bits
		case 4:
			p.Value = math.Float64frombits(f.bits)
		case 6:
			p.Value = float64(int64(f.bits))
		case 7:
			return d.attribute(&p, f.bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.add(p)
}

// distribution gives the count and the sum of a distribution, which are all that is kept.
func (d *decoder) distribution(b []byte, kind int) error {
	count, sum := d.now, d.now
	attributes := 9 // histogram
	switch kind {
	case 10:
		attributes = 1
	case 11:
		attributes = 7
	}
	hasSum := false
	err := fields(b, func(f field) error {
		switch {
		case f.number == attributes:
			return d.attribute(&count, f.bytes)
		case f.number == 3:
			count.UnixNano = f.bits
		case f.number == 4:
			count.Value = float64(f.bits)
		case f.number == 5:
			sum.Value, hasSum = math.Float64frombits(f.bits), true
		}
		return nil
	})
	if err != nil {
		return err
	}
	sum.Attributes, sum.UnixNano = count.Attributes, count.UnixNano
	count.Monotonic = true
	count.Name += ".count"
	if err := d.add(count); err != nil || !hasSum {
		return err
	}
	sum.Name += ".sum"
	return d.add(sum)
}

func (d *decoder) add(p Point) error {
	if len(d.points) == MaxPoints {
		return fmt.Errorf("%w: more than %d points", ErrTooMany, MaxPoints)
	}
	d.points = append(d.points, p)
	return nil
}

func (d *decoder) attribute(p *Point, b []byte) error {
	if len(p.Attributes) == MaxAttributes {
		return fmt.Errorf("%w: more than %d attributes of a point", ErrTooMany, MaxAttributes)
	}
	if d.seen++; d.seen > 4*MaxPoints {
		return fmt.Errorf("%w: more than %d attributes", ErrTooMany, 4*MaxPoints)
	}
	var a Attribute
	err := fields(b, func(f field) error {
		switch f.number {
		case 1:
			a.Key = clip(f.bytes)
		case 2:
			return a.value(f.bytes)
		}
		return nil
	})
	p.Attributes = append(p.Attributes, a)
	return err
}

// value reads an attribute's value as text; lists and maps are left out.
func (a *Attribute) value(b []byte) error {
	return fields(b, func(f field) error {
		switch f.number {
		case 1:
			a.Value = clip(f.bytes)
		case 2:
			a.Value = strconv.FormatBool(f.bits != 0)
		case 3:
			a.Value = strconv.FormatInt(int64(f.bits), 10)
		case 4:
			a.Value = strconv.FormatFloat(math.Float64frombits(f.bits), 'g', -1, 64)
		}
		return nil
	})
}

// clip makes a text of bytes: not longer than MaxText, and UTF-8.
func clip(b []byte) string {
	s := string(b[:min(len(b), MaxText)])
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
