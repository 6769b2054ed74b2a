package wire

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// checkDecode decodes in, and checks the bound on allocation and that what was read is stable: written and read again
// it is the same.
func checkDecode(t *testing.T, in []byte, version int16, m, again Record) {
	t.Helper()
	if version < m.MinVersion() || version > m.MaxVersion() {
		return
	}
	r := NewReader(in)
	if n := allocated(func() { m.Decode(r, version) }); n > allowed(len(in)) {
		t.Fatalf("decoding %d bytes allocates %d", len(in), n)
	}
	if r.Finish() != nil {
		return
	}
	out := m.Append(nil, version)
	r = NewReader(out)
	if again.Decode(r, version); r.Finish() != nil {
		t.Fatalf("reading what was written for %+v: %v", m, r.Err())
	}
	if diff := cmp.Diff(m, again, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
		t.Fatalf("what was written reads as something else (-before +after):\n%s", diff)
	}
}

func FuzzRequest(f *testing.F) {
	for i := range APIs {
		a := &APIs[i]
		for version := a.Min; version <= a.Max; version++ {
			m := a.NewRequest()
			newFiller(uint64(version), 1).fill(m)
			f.Add(a.Key, version, m.Append(nil, version))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, in []byte) {
		if a, ok := Lookup(key); ok {
			checkDecode(t, in, version, a.NewRequest(), a.NewRequest())
		}
	})
}

func FuzzResponse(f *testing.F) {
	for i := range APIs {
		a := &APIs[i]
		for version := a.Min; version <= a.Max; version++ {
			m := a.NewResponse()
			newFiller(uint64(version), 1).fill(m)
			f.Add(a.Key, version, m.Append(nil, version))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, in []byte) {
		if a, ok := Lookup(key); ok {
			checkDecode(t, in, version, a.NewResponse(), a.NewResponse())
		}
	})
}

func FuzzRequestHeader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 13, 0, 0, 0, 1, 0, 1, 'c', 0})
	f.Add([]byte{0, 18, 0x7f, 0xff, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(in)
		h, err := DecodeRequestHeader(r)
		if err != nil {
			return
		}
		again, err := DecodeRequestHeader(NewReader(h.Append(nil)))
		if err != nil || again != h {
			t.Errorf("%+v is read again as %+v, error %v", h, again, err)
		}
	})
}

func FuzzMetadataRecord(f *testing.F) {
	for kind := range int16(32) {
		if rec := newMetadataRecord(kind); rec != nil {
			newFiller(uint64(kind), 1).fill(rec)
			f.Add(AppendMetadataRecord(nil, rec, rec.MaxVersion()))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, version, err := DecodeMetadataRecord(in)
		if err != nil {
			return
		}
		again, v, err := DecodeMetadataRecord(AppendMetadataRecord(nil, rec, version))
		if err != nil || v != version || !cmp.Equal(rec, again, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()) {
			t.Errorf("%+v is read again as %+v, version %d, error %v", rec, again, v, err)
		}
	})
}

func FuzzRemoteLogRecord(f *testing.F) {
	for kind := range int16(4) {
		rec := newRemoteLogRecord(kind)
		newFiller(uint64(kind), 1).fill(rec)
		f.Add(AppendRemoteLogRecord(nil, rec, 0))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, version, err := DecodeRemoteLogRecord(in)
		if err != nil {
			return
		}
		again, _, err := DecodeRemoteLogRecord(AppendRemoteLogRecord(nil, rec, version))
		if err != nil || !cmp.Equal(rec, again, cmpopts.EquateEmpty()) {
			t.Errorf("%+v is read again as %+v, error %v", rec, again, err)
		}
	})
}

// coordinators are the readers of the three topics.
var coordinators = []struct {
	key   func([]byte) (CoordinatorRecord, error)
	value func(int16, []byte) (CoordinatorRecord, int16, error)
}{
	{DecodeGroupKey, DecodeGroupValue},
	{DecodeTransactionKey, DecodeTransactionValue},
	{DecodeShareKey, DecodeShareValue},
}

func FuzzCoordinatorRecord(f *testing.F) {
	for which, create := range []func(int16) CoordinatorRecord{newGroupKey, newTransactionKey, newShareKey} {
		for kind := range int16(32) {
			key := create(kind)
			if key == nil {
				continue
			}
			value := []func(int16) CoordinatorRecord{newGroupValue, newTransactionValue, newShareValue}[which](kind)
			newFiller(uint64(kind), 1).fill(key)
			newFiller(uint64(kind), 1).fill(value)
			f.Add(uint8(which), AppendKey(nil, key), AppendValue(nil, value, value.MaxVersion()))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, key, value []byte) {
		c := coordinators[int(which)%len(coordinators)]
		k, err := c.key(key)
		if err != nil {
			return
		}
		if again, err := c.key(AppendKey(nil, k)); err != nil || !reflect.DeepEqual(k, again) {
			t.Errorf("%+v is read again as %+v, error %v", k, again, err)
		}
		v, version, err := c.value(k.CoordinatorType(), value)
		if err != nil {
			return
		}
		again, _, err := c.value(k.CoordinatorType(), AppendValue(nil, v, version))
		if err != nil || !cmp.Equal(v, again, cmpopts.EquateEmpty()) {
			t.Errorf("%+v is read again as %+v, error %v", v, again, err)
		}
	})
}

func FuzzData(f *testing.F) {
	all := records()
	for i, rec := range all {
		newFiller(uint64(i), 1).fill(rec)
		f.Add(uint8(i), rec.MaxVersion(), rec.Append(nil, rec.MaxVersion()))
	}
	f.Fuzz(func(t *testing.T, which uint8, version int16, in []byte) {
		kind := reflect.TypeOf(all[int(which)%len(all)]).Elem()
		checkDecode(t, in, version, reflect.New(kind).Interface().(Record), reflect.New(kind).Interface().(Record))
	})
}
