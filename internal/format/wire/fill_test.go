package wire

import (
	"math/rand/v2"
	"reflect"
)

// filler gives random values to every field that it can reach, so that a test does not have to know the messages.
type filler struct {
	rnd *rand.Rand
	// nulls is how often, of ten times, what can be nil is nil.
	nulls int
}

func newFiller(seed uint64, nulls int) *filler {
	return &filler{rnd: rand.New(rand.NewPCG(seed, 1)), nulls: nulls}
}

// fill sets everything that p points to. Fields of the given names stay as they are.
func (f *filler) fill(p any, except ...string) {
	f.value(reflect.ValueOf(p).Elem(), except)
}

func (f *filler) value(v reflect.Value, except []string) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(f.rnd.IntN(2) == 1)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(f.number())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(f.rnd.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(f.rnd.NormFloat64())
	case reflect.String:
		v.SetString(f.text())
	case reflect.Interface:
		f.value(v.Elem().Elem(), except)
	case reflect.Pointer:
		if f.null() {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.value(v.Elem(), except)
	case reflect.Slice:
		if f.null() {
			v.SetZero()
			return
		}
		n := f.rnd.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.value(v.Index(i), except)
		}
	case reflect.Array:
		for i := range v.Len() {
			f.value(v.Index(i), except)
		}
	case reflect.Struct:
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			skip := !v.Field(i).CanSet()
			for _, e := range except {
				skip = skip || e == name
			}
			if !skip {
				f.value(v.Field(i), except)
			}
		}
	}
}

func (f *filler) null() bool { return f.rnd.IntN(10) < f.nulls }

// number prefers the values at which something may happen.
func (f *filler) number() int64 {
	switch f.rnd.IntN(4) {
	case 0:
		return -1
	case 1:
		return int64(f.rnd.IntN(3))
	}
	return f.rnd.Int64() - f.rnd.Int64()
}

func (f *filler) text() string {
	letters := []rune("abcxyz09.-_ é世😀")
	n := f.rnd.IntN(6)
	if f.rnd.IntN(50) == 0 {
		n = 150
	}
	out := make([]rune, n)
	for i := range out {
		out[i] = letters[f.rnd.IntN(len(letters))]
	}
	return string(out)
}
