package isolation_test

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/sim/isolation"
)

// book is a history in the making.
type book struct {
	isolation.History
	now int64
}

// txn adds a transaction.
func (b *book) txn(outcome isolation.Outcome) *isolation.Txn {
	t := b.Begin("client")
	t.Outcome = outcome
	return t
}

// write adds an acknowledged write to partition 0.
func (b *book) write(t *isolation.Txn, key string, offset int64) isolation.Version {
	b.now++
	v := isolation.Version{Txn: t.ID, Step: len(t.Writes) + 1}
	t.Writes = append(t.Writes, isolation.Write{Key: key, Version: v, Place: isolation.Place{Offset: offset}, AckedAt: b.now})
	return v
}

// read adds a read of a version that lies at an offset.
func (b *book) read(t *isolation.Txn, key string, v isolation.Version, offset, position int64) {
	b.now++
	t.Reads = append(t.Reads, isolation.Read{Key: key, Version: v, Offset: offset, Position: position, StartedAt: b.now})
}

const (
	committed = isolation.Committed
	aborted   = isolation.Aborted
	unknown   = isolation.Unknown
)

// TestFinds: each anomaly is found in a history that has it, and nothing else is.
func TestFinds(t *testing.T) {
	none := isolation.Version{}
	for _, tc := range []struct {
		name string
		make func(b *book)
		want []isolation.Kind
	}{
		{"nothing", func(*book) {}, nil},
		{"one after the other", func(b *book) {
			t1, t2, t3 := b.txn(committed), b.txn(aborted), b.txn(committed)
			b.read(t1, "a", none, 0, 0)
			v := b.write(t1, "a", 0)
			w := b.write(t1, "b", 1)
			b.write(t2, "a", 3)
			b.read(t3, "a", v, 0, 5)
			b.read(t3, "b", w, 1, 5)
			b.write(t3, "a", 5)
			b.write(t3, "b", 6)
		}, nil},
		{"a reader that has not got so far", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			v := b.write(t1, "a", 0)
			b.write(t1, "a", 1)
			b.read(t2, "a", v, 0, 1)
		}, nil},
		{"a reader that comes behind compaction", func(b *book) {
			t1, t2, t3 := b.txn(committed), b.txn(committed), b.txn(committed)
			b.write(t1, "a", 0)
			b.write(t2, "a", 6)
			b.read(t3, "a", none, 0, 5)
		}, nil},
		{"an unknown end that nobody has seen", func(b *book) {
			t1, t2 := b.txn(unknown), b.txn(committed)
			b.write(t1, "a", 0)
			b.read(t2, "a", none, 0, 5)
		}, nil},
		{"open and aborted data for who asks for them", func(b *book) {
			t1, t2 := b.txn(aborted), b.txn(committed)
			v := b.write(t1, "a", 0)
			t2.Uncommitted = true
			b.read(t2, "a", v, 0, 5)
			b.See(isolation.Place{Offset: 0}, v, false)
		}, nil},
		{"writes that overtake each other", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			b.write(t1, "a", 0)
			b.write(t2, "a", 1)
			b.write(t2, "b", 2)
			b.write(t1, "b", 3)
		}, []isolation.Kind{isolation.G0}},
		{"a cycle of three writers", func(b *book) {
			t1, t2, t3 := b.txn(committed), b.txn(committed), b.txn(committed)
			b.write(t1, "a", 0)
			b.write(t2, "a", 1)
			b.write(t2, "b", 2)
			b.write(t3, "b", 3)
			b.write(t3, "c", 4)
			b.write(t1, "c", 5)
		}, []isolation.Kind{isolation.G0}},
		{"a read of an aborted transaction", func(b *book) {
			t1, t2 := b.txn(aborted), b.txn(committed)
			v := b.write(t1, "a", 0)
			b.read(t2, "a", v, 0, 2)
		}, []isolation.Kind{isolation.G1a}},
		{"an aborted record in passing", func(b *book) {
			b.See(isolation.Place{Offset: 0}, b.write(b.txn(aborted), "a", 0), true)
		}, []isolation.Kind{isolation.G1a}},
		{"a version that its transaction had replaced", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			v := b.write(t1, "a", 0)
			b.write(t1, "a", 1)
			b.read(t2, "a", v, 0, 3)
		}, []isolation.Kind{isolation.G1b}},
		{"two that read each other", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			v, w := b.write(t1, "a", 0), b.write(t2, "b", 1)
			b.read(t1, "b", w, 1, 5)
			b.read(t2, "a", v, 0, 5)
		}, []isolation.Kind{isolation.G1c}},
		{"one that read what overwrote it", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			b.write(t1, "a", 0)
			b.write(t2, "a", 1)
			v := b.write(t2, "b", 2)
			b.read(t1, "b", v, 2, 3)
		}, []isolation.Kind{isolation.G1c}},
		{"a committed write that is gone", func(b *book) {
			t1, t2, t3 := b.txn(committed), b.txn(committed), b.txn(committed)
			v := b.write(t1, "a", 0)
			b.write(t2, "a", 2)
			b.read(t3, "a", v, 0, 5)
		}, []isolation.Kind{isolation.Lost}},
		{"nothing where something was committed", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			b.write(t1, "a", 0)
			b.read(t2, "a", none, 0, 5)
		}, []isolation.Kind{isolation.Lost}},
		{"half a transaction", func(b *book) {
			t1, t2 := b.txn(unknown), b.txn(committed)
			v := b.write(t1, "a", 0)
			b.write(t1, "b", 1)
			b.read(t2, "a", v, 0, 5)
			b.read(t2, "b", none, 0, 5)
		}, []isolation.Kind{isolation.Torn}},
		{"a write at two places", func(b *book) {
			t1, t2 := b.txn(committed), b.txn(committed)
			v := b.write(t1, "a", 0)
			b.read(t2, "a", v, 4, 5)
		}, []isolation.Kind{isolation.Duplicated}},
		{"two versions at one place", func(b *book) {
			b.write(b.txn(committed), "a", 0)
			b.write(b.txn(committed), "b", 0)
		}, []isolation.Kind{isolation.Moved}},
		{"a version that nobody wrote", func(b *book) {
			b.See(isolation.Place{Offset: 3}, isolation.Version{Txn: 9, Step: 1}, true)
		}, []isolation.Kind{isolation.Invented}},
		{"a transaction that reads its own write", func(b *book) {
			t1 := b.txn(committed)
			v := b.write(t1, "a", 0)
			b.read(t1, "a", v, 0, 1)
		}, []isolation.Kind{isolation.Early}},
		{"an end before what was acknowledged", func(b *book) {
			t1, t2 := b.txn(aborted), b.txn(committed)
			b.write(t1, "a", 7)
			b.read(t2, "a", none, 0, 7)
			t2.Reads[0].Fresh = true
		}, []isolation.Kind{isolation.Stale}},
	} {
		b := &book{}
		tc.make(b)
		found := b.Check()
		var got []isolation.Kind
		for _, a := range found {
			got = append(got, a.Kind)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: found %v", tc.name, found)
		}
	}
}

// TestCycle: the message names a shortest cycle.
func TestCycle(t *testing.T) {
	b := &book{}
	t1, t2 := b.txn(committed), b.txn(committed)
	b.write(t1, "a", 0)
	b.write(t2, "a", 1)
	b.write(t2, "b", 2)
	b.write(t1, "b", 3)
	got := b.Check()
	if want := "G0: 1 (client) -a overwritten-> 2 (client) -b overwritten-> 1"; len(got) != 1 || got[0].String() != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
