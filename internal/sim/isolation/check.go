package isolation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Kind is what kind of thing went wrong.
type Kind string

// The kinds of anomalies.
const (
	// G0 is a cycle of writes: transactions overwrote each other in both directions.
	G0 Kind = "G0"
	// G1a is a read of an aborted transaction.
	G1a Kind = "G1a"
	// G1b is a read of a version that its own transaction had replaced.
	G1b Kind = "G1b"
	// G1c is a cycle of writes and reads: each transaction took something from the one before.
	G1c Kind = "G1c"
	// Lost is a committed write that a reader behind it does not see.
	Lost Kind = "lost"
	// Torn is Lost where other writes of the same transaction were seen.
	Torn Kind = "torn"
	// Duplicated is one write at two places.
	Duplicated Kind = "duplicated"
	// Moved is a place where two different versions were seen.
	Moved Kind = "moved"
	// Invented is a version that nobody wrote.
	Invented Kind = "invented"
	// Early is a read of a transaction's own write among committed data, before its end.
	Early Kind = "early"
	// Stale is a reader at the end of a partition that ends before what was acknowledged.
	Stale Kind = "stale"
)

// Anomaly is one thing that went wrong.
type Anomaly struct {
	Kind Kind
	// Txns shows it, in the order of the message.
	Txns    []int
	Message string
}

func (a Anomaly) String() string { return string(a.Kind) + ": " + a.Message }

// placed is a version with its place.
type placed struct {
	Write
	txn *Txn
}

// check is one run of the checker.
type check struct {
	h         *History
	txns      map[int]*Txn
	writes    map[Version]*placed
	committed map[int]bool
	// seen has the versions that readers of committed data have met.
	seen map[Version]bool
	// order has the versions of committed transactions by key, in the order of their offsets.
	order map[string][]*placed
	found []Anomaly
}

// Check finds all anomalies, in a fixed order.
func (h *History) Check() []Anomaly {
	c := &check{
		h: h, txns: map[int]*Txn{}, writes: map[Version]*placed{}, committed: map[int]bool{}, seen: map[Version]bool{},
		order: map[string][]*placed{},
	}
	c.gather()
	c.places()
	c.outcomes()
	c.sort()
	for _, t := range h.Txns {
		if t.Uncommitted {
			continue
		}
		for i := range t.Reads {
			c.read(t, &t.Reads[i])
		}
	}
	c.stale()
	c.cycles()
	return c.found
}

func (c *check) add(kind Kind, txns []int, format string, args ...any) {
	c.found = append(c.found, Anomaly{Kind: kind, Txns: txns, Message: fmt.Sprintf(format, args...)})
}

// gather notes who wrote what, and counts what reads have met as seen.
func (c *check) gather() {
	for _, t := range c.h.Txns {
		c.txns[t.ID] = t
		for _, w := range t.Writes {
			c.writes[w.Version] = &placed{Write: w, txn: t}
			if w.Place.Offset >= 0 {
				c.h.See(w.Place, w.Version, false)
			}
		}
		for _, r := range t.Reads {
			if r.Version != (Version{}) {
				c.h.See(Place{r.Partition, r.Offset}, r.Version, !t.Uncommitted)
			}
		}
	}
}

// places finds versions at two places, places with two versions, and versions out of nowhere.
func (c *check) places() {
	where := map[Version]Place{}
	for _, p := range slices.SortedFunc(maps.Keys(c.h.at), comparePlaces) {
		versions := slices.SortedFunc(maps.Keys(c.h.at[p]), compareVersions)
		if len(versions) > 1 {
			c.add(Moved, []int{versions[0].Txn, versions[1].Txn}, "offset %d of partition %d has held %v and %v", p.Offset, p.Partition, versions[0], versions[1])
		}
		for _, v := range versions {
			w := c.writes[v]
			if w == nil {
				c.add(Invented, []int{v.Txn}, "offset %d of partition %d has %v, which nobody wrote", p.Offset, p.Partition, v)
				continue
			}
			if before, twice := where[v]; twice {
				c.add(Duplicated, []int{v.Txn}, "%v of key %s is at %v and at %v", v, w.Key, before, p)
				continue
			}
			where[v], w.Place = p, p
			c.seen[v] = c.seen[v] || c.h.at[p][v]
		}
	}
}

func comparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

func compareVersions(a, b Version) int {
	return cmp.Or(cmp.Compare(a.Txn, b.Txn), cmp.Compare(a.Step, b.Step))
}

// outcomes finds out which transactions are committed: by what their clients were told, or by what readers saw.
func (c *check) outcomes() {
	for _, t := range c.h.Txns {
		c.committed[t.ID] = t.Outcome == Committed
	}
	for _, v := range slices.SortedFunc(maps.Keys(c.seen), compareVersions) {
		if !c.seen[v] {
			continue
		}
		switch t := c.txns[v.Txn]; t.Outcome {
		case Aborted:
			c.add(G1a, []int{v.Txn}, "%v of key %s was read, its transaction (%s) was aborted", v, c.writes[v].Key, t.Client)
		case Unknown:
			c.committed[v.Txn] = true
		}
	}
}

// sort brings the committed versions of each key into the order of their offsets.
func (c *check) sort() {
	for _, w := range c.writes { //unordered: sorted below
		if w.Place.Offset >= 0 && c.committed[w.txn.ID] {
			c.order[w.Key] = append(c.order[w.Key], w)
		}
	}
	for _, list := range c.order { //unordered: each by itself
		slices.SortFunc(list, func(a, b *placed) int { return cmp.Compare(a.Place.Offset, b.Place.Offset) })
	}
}

// read demands that a reader saw the latest committed version below its position.
func (c *check) read(t *Txn, r *Read) {
	if r.Version.Txn == t.ID {
		c.add(Early, []int{t.ID}, "transaction %d (%s) reads its own %v of key %s among committed data", t.ID, t.Client, r.Version, r.Key)
		return
	}
	list := c.order[r.Key]
	n, _ := slices.BinarySearchFunc(list, r.Position, func(w *placed, offset int64) int { return cmp.Compare(w.Place.Offset, offset) })
	if n == 0 {
		return
	}
	want := list[n-1]
	switch {
	case n < len(list): // compaction may have taken it away for the sake of what lies behind
	case r.Version != (Version{}) && r.Offset >= want.Place.Offset:
	case want.txn.ID == r.Version.Txn:
		c.add(G1b, []int{t.ID, want.txn.ID}, "transaction %d (%s) reads %v of key %s at position %d, though %v of the same transaction lies at offset %d",
			t.ID, t.Client, r.Version, r.Key, r.Position, want.Version, want.Place.Offset)
	default:
		kind := Lost
		if !c.seen[want.Version] && c.seenOther(want) {
			kind = Torn
		}
		c.add(kind, []int{t.ID, want.txn.ID}, "transaction %d (%s) reads %v of key %s at position %d, and not %v, which was committed at offset %d by %s",
			t.ID, t.Client, r.Version, r.Key, r.Position, want.Version, want.Place.Offset, want.txn.Client)
	}
}

// seenOther says whether another write of the transaction was read.
func (c *check) seenOther(w *placed) bool {
	return slices.ContainsFunc(w.txn.Writes, func(o Write) bool { return o.Version != w.Version && c.seen[o.Version] })
}

// stale finds readers at the end of a partition that ends before what had been acknowledged.
func (c *check) stale() {
	type ack struct{ at, offset int64 }
	acks := map[int32][]ack{} // by partition, by time; offset is the greatest yet
	for _, t := range c.h.Txns {
		for _, w := range t.Writes {
			if w.AckedAt > 0 && w.Place.Offset >= 0 {
				acks[w.Place.Partition] = append(acks[w.Place.Partition], ack{w.AckedAt, w.Place.Offset})
			}
		}
	}
	for _, list := range acks { //unordered: each by itself
		slices.SortFunc(list, func(a, b ack) int { return cmp.Compare(a.at, b.at) })
		for i := 1; i < len(list); i++ {
			list[i].offset = max(list[i].offset, list[i-1].offset)
		}
	}
	for _, t := range c.h.Txns {
		for _, r := range t.Reads {
			list := acks[r.Partition]
			n, _ := slices.BinarySearchFunc(list, r.StartedAt, func(a ack, at int64) int { return cmp.Compare(a.at, at) })
			if r.Fresh && n > 0 && list[n-1].offset >= r.Position {
				c.add(Stale, []int{t.ID}, "transaction %d (%s) is at the end of partition %d at position %d, offset %d had been acknowledged before",
					t.ID, t.Client, r.Partition, r.Position, list[n-1].offset)
			}
		}
	}
}
