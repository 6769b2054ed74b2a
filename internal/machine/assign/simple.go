package assign

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// Simple spreads the partitions of a share group: each has as many members as are needed for every member to have
// something, and members have even numbers of them. The assignor "simple" of KIP-932.
func Simple(members []Member, topics []Topic) []Assignment {
	if len(members) == 0 {
		return nil
	}
	s := &simple{members: members, numbers: make([][]int32, len(members))}
	all := make([]int32, len(members))
	for i := range all {
		all[i] = int32(i)
	}
	if Homogeneous(members) {
		s.space = newSpace(topics, notNil(members[0].Subscribed))
		var targets []int32
		for t := range s.topics {
			targets = s.targets(targets, t)
		}
		s.share(targets, all, func(mb *Member) Assignment { return mb.Owned })
		return s.result()
	}
	s.space = newSpace(topics, nil)
	subscribers := s.subscribersOf(members, func(yield func(int32) bool) {
		for _, i := range all {
			if !yield(i) {
				return
			}
		}
	})
	for t := range s.topics {
		id := s.topics[t].ID
		s.share(s.targets(nil, t), subscribers[t], func(mb *Member) Assignment { return mb.Owned.of(id) })
	}
	return s.result()
}

// simple is one run of Simple.
type simple struct {
	*space
	members []Member
	numbers [][]int32 // by member: the result
}

// targets appends the partitions of a topic that may be assigned.
func (s *simple) targets(to []int32, t int) []int32 {
	if s.topics[t].Assignable == nil {
		for p := s.first[t]; p < s.first[t+1]; p++ {
			to = append(to, p)
		}
		return to
	}
	for _, p := range s.topics[t].Assignable {
		if p >= 0 && p < s.topics[t].Partitions {
			to = append(to, s.first[t]+p)
		}
	}
	return to
}

// of is the part of an assignment that is about one topic.
func (a Assignment) of(id wire.UUID) Assignment {
	i, ok := slices.BinarySearchFunc(a, id, func(o TopicPartitions, id wire.UUID) int { return compareIDs(o.Topic, id) })
	if !ok {
		return nil
	}
	return a[i : i+1]
}

// share divides targets, which ascend, among some of the members, which ascend. owned is what of a member's
// assignment the targets are among.
func (s *simple) share(targets, members []int32, owned func(*Member) Assignment) {
	if len(targets) == 0 || len(members) == 0 {
		return
	}
	r := &sharing{
		simple: s, targets: targets, members: members, desired: make([]int32, len(members)), has: make([]int32, len(members)),
		holders: make([][]int32, len(targets)),
	}
	r.each = (len(members) + len(targets) - 1) / len(targets)
	// Partition seats divided by members, spread so that the rounding errors cancel.
	seats := r.each * len(targets)
	for k := range members {
		r.desired[k] = int32(ceilDiv(seats*(k+1), len(members)) - ceilDiv(seats*k, len(members)))
	}
	r.keep(owned)
	r.fill()
	for t, holders := range r.holders {
		for _, k := range holders {
			i := members[k]
			s.numbers[i] = append(s.numbers[i], targets[t])
		}
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// sharing divides one set of targets. Members are known by their place k in members.
type sharing struct {
	*simple
	targets, members []int32
	each             int       // how many members a partition has
	desired, has     []int32   // by member
	holders          [][]int32 // by target
}

// keep leaves members what they have, except what is over a member's or a partition's number. What goes first is
// what comes first.
func (r *sharing) keep(owned func(*Member) Assignment) {
	var own []int32
	for k, i := range r.members {
		own = own[:0]
		for _, o := range owned(&r.simple.members[i]) {
			t, ok := r.index[o.Topic]
			if !ok {
				continue
			}
			for _, p := range o.Partitions {
				if at, ok := slices.BinarySearch(r.targets, r.first[t]+p); ok && p >= 0 && p < r.topics[t].Partitions {
					own = append(own, int32(at))
				}
			}
		}
		slices.Sort(own)
		own = slices.Compact(own)
		own = own[max(0, len(own)-int(r.desired[k])):]
		r.has[k] = int32(len(own))
		for _, t := range own {
			r.holders[t] = append(r.holders[t], int32(k))
		}
	}
	for t, holders := range r.holders {
		over := max(0, len(holders)-r.each)
		for _, k := range holders[:over] {
			r.has[k]--
		}
		r.holders[t] = holders[over:]
	}
}

// fill gives each partition the members it lacks, going round those that lack partitions.
func (r *sharing) fill() {
	ring := newRing(len(r.members), func(k int) bool { return r.has[k] < r.desired[k] })
	holds := make([]int32, len(r.members)) // the last target, plus one, that a member was seen to hold
	for t := range r.targets {
		for _, k := range r.holders[t] {
			holds[k] = int32(t + 1)
		}
		for skipped := 0; len(r.holders[t]) < r.each && skipped < ring.size; {
			k := ring.at
			if holds[k] == int32(t+1) {
				skipped++
				ring.advance()
				continue
			}
			skipped = 0
			holds[k] = int32(t + 1)
			r.holders[t] = append(r.holders[t], int32(k))
			if r.has[k]++; r.has[k] >= r.desired[k] {
				ring.remove()
			} else {
				ring.advance()
			}
		}
		if ring.size == 0 {
			return
		}
	}
}

// ring is a circle of numbers with a hand, from which numbers are taken out.
type ring struct {
	next         []int
	at, previous int
	size         int
}

// newRing makes a ring of those of n numbers that are wanted, with the hand at the first.
func newRing(n int, wanted func(int) bool) *ring {
	r := &ring{next: make([]int, n)}
	first := -1
	for k := range n {
		if !wanted(k) {
			continue
		}
		if first < 0 {
			first = k
		} else {
			r.next[r.previous] = k
		}
		r.previous = k
		r.size++
	}
	if first >= 0 {
		r.next[r.previous], r.at = first, first
	}
	return r
}

func (r *ring) advance() { r.previous, r.at = r.at, r.next[r.at] }

func (r *ring) remove() {
	r.next[r.previous] = r.next[r.at]
	r.at = r.next[r.at]
	r.size--
}

func (s *simple) result() []Assignment {
	out := make([]Assignment, len(s.members))
	for i := range s.members {
		slices.Sort(s.numbers[i])
		out[i] = s.assignment(s.numbers[i])
		if out[i].Equal(s.members[i].Owned) {
			out[i] = s.members[i].Owned
		}
	}
	return out
}
