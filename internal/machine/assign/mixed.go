package assign

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// roundLimit bounds how often balancing goes through all topics.
const roundLimit = 16

// mixed is one run of Uniform over members whose subscriptions differ. Partitions that nobody has go to the least
// loaded subscriber of their topic; then topic after topic is levelled until nothing moves any more.
type mixed struct {
	*space
	members     []Member
	subscribers [][]int32 // by topic, ascending
	owned       []int32   // by partition
	load        []int32   // by member
	changed     []bool
}

func uniformMixed(members []Member, topics []Topic) []Assignment {
	m := &mixed{space: newSpace(topics, nil), members: members, load: make([]int32, len(members)), changed: make([]bool, len(members))}
	m.subscribers = m.subscribersOf(members, func(yield func(int32) bool) {
		for i := range members {
			if !yield(int32(i)) {
				return
			}
		}
	})
	m.owned = m.owners()
	m.keep()
	order := m.order()
	b := &balance{load: m.load}
	for _, t := range order {
		m.assignFree(t, b)
	}
	m.level(order, b)
	return m.result()
}

// keep leaves members what they own and have still subscribed to.
func (m *mixed) keep() {
	for i := range m.members {
		mb := &m.members[i]
		owned := mb.Owned
		if slices.ContainsFunc(owned, func(o TopicPartitions) bool { return !mb.subscribed(o.Topic) }) {
			m.changed[i] = true
			owned = slices.DeleteFunc(slices.Clone(owned), func(o TopicPartitions) bool { return !mb.subscribed(o.Topic) })
		}
		if m.take(m.owned, int32(i), owned) {
			m.changed[i] = true
		}
	}
	for _, owner := range m.owned {
		if owner != nobody {
			m.load[owner]++
		}
	}
}

func (mb *Member) subscribed(id wire.UUID) bool {
	_, ok := slices.BinarySearchFunc(mb.Subscribed, id, compareIDs)
	return ok
}

// order is the topics that have subscribers: most partitions for each subscriber first, then fewest subscribers.
func (m *mixed) order() []int32 {
	order := make([]int32, 0, len(m.topics))
	for t := range m.topics {
		if len(m.subscribers[t]) > 0 {
			order = append(order, int32(t))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		an, bn := len(m.subscribers[a]), len(m.subscribers[b])
		return cmp.Or(
			cmp.Compare(float64(m.topics[b].Partitions)/float64(bn), float64(m.topics[a].Partitions)/float64(an)),
			cmp.Compare(an, bn),
			compareAsKafka(m.topics[a].ID, m.topics[b].ID),
		)
	})
	return order
}

// compareAsKafka orders ids as Kafka's Uuid class does, whose halves are signed.
func compareAsKafka(a, b wire.UUID) int {
	half := func(u []byte) int64 { return int64(binary.BigEndian.Uint64(u)) }
	return cmp.Or(cmp.Compare(half(a[:8]), half(b[:8])), cmp.Compare(half(a[8:]), half(b[8:])))
}

func (m *mixed) assignFree(t int32, b *balance) {
	begun := false
	for p := m.first[t]; p < m.first[t+1]; p++ {
		if m.owned[p] != nobody {
			continue
		}
		if !begun {
			b.begin(m.subscribers[t])
			begun = true
		}
		m.give(p, b.nextLeast())
	}
}

func (m *mixed) give(p, to int32) {
	if from := m.owned[p]; from != nobody {
		m.load[from]--
		m.changed[from] = true
	}
	m.owned[p] = to
	m.load[to]++
	m.changed[to] = true
}

// level goes round the topics until a whole round moves nothing.
func (m *mixed) level(order []int32, b *balance) {
	order = slices.DeleteFunc(slices.Clone(order), func(t int32) bool { return len(m.subscribers[t]) < 2 })
	last := -1
	l := &leveller{mixed: m, balance: b, begin: make([]int32, len(m.members)), end: make([]int32, len(m.members))}
	for range roundLimit {
		for i, t := range order {
			if i == last {
				return
			}
			if l.topic(t) > 0 || last < 0 {
				last = i
			}
		}
	}
}

// leveller moves one topic's partitions from who has most partitions to who has least.
type leveller struct {
	*mixed
	balance    *balance
	partitions []int32 // of the topic, by owner
	begin, end []int32 // by member: where its partitions are among these
}

// topic levels one topic and gives the number of partitions that moved.
func (l *leveller) topic(t int32) (moved int) {
	low, high := l.spread(t)
	if high-low <= 1 {
		return 0
	}
	l.balance.begin(l.subscribers[t])
	l.sort(t)
	for !l.balance.level() {
		from, ok := l.balance.nextMost()
		if !ok {
			break
		}
		if l.end[from] == l.begin[from] {
			l.balance.exclude() // it has nothing of this topic that could move
			continue
		}
		l.end[from]--
		p := l.partitions[l.end[from]]
		to := l.balance.nextLeast()
		if l.balance.level() {
			break
		}
		l.give(p, to)
		moved++
	}
	return moved
}

// spread is the smallest and the largest load of the topic's subscribers.
func (l *leveller) spread(t int32) (low, high int32) {
	low = l.load[l.subscribers[t][0]]
	high = low
	for _, i := range l.subscribers[t] {
		low, high = min(low, l.load[i]), max(high, l.load[i])
	}
	return low, high
}

// sort lists the topic's partitions by owner, which counting does.
func (l *leveller) sort(t int32) {
	for _, i := range l.subscribers[t] {
		l.end[i] = 0
	}
	for _, owner := range l.owned[l.first[t]:l.first[t+1]] {
		l.end[owner]++
	}
	at := int32(0)
	for _, i := range l.subscribers[t] {
		n := l.end[i]
		l.begin[i], l.end[i] = at, at
		at += n
	}
	l.partitions = slices.Grow(l.partitions[:0], int(at))[:at]
	for p := l.first[t]; p < l.first[t+1]; p++ {
		owner := l.owned[p]
		l.partitions[l.end[owner]] = p
		l.end[owner]++
	}
}

func (m *mixed) result() []Assignment {
	numbers := make([][]int32, len(m.members))
	for p, owner := range m.owned {
		if owner != nobody && m.changed[owner] {
			numbers[owner] = append(numbers[owner], int32(p))
		}
	}
	out := make([]Assignment, len(m.members))
	for i := range m.members {
		if !m.changed[i] {
			out[i] = m.members[i].Owned
			continue
		}
		out[i] = m.assignment(numbers[i])
		if out[i].Equal(m.members[i].Owned) {
			out[i] = m.members[i].Owned
		}
	}
	return out
}

// balance gives a topic's subscribers in the order of their loads, while these change by what it has given: from
// the least loaded upwards all that have the same load in turn, and from the most loaded downwards.
type balance struct {
	load  []int32
	order []int32

	leastEnd, leastNext int
	leastLoad           int32

	mostStart, mostEnd, mostNext int
	mostLoad                     int32
}

func (b *balance) begin(members []int32) {
	b.order = append(b.order[:0], members...)
	slices.SortFunc(b.order, func(x, y int32) int {
		return cmp.Or(cmp.Compare(b.load[x], b.load[y]), cmp.Compare(x, y))
	})
	n := len(b.order)
	b.leastEnd, b.leastNext, b.leastLoad = 0, 0, b.load[b.order[0]]-1
	b.mostStart, b.mostEnd, b.mostNext, b.mostLoad = n, n, n-1, b.load[b.order[n-1]]+1
}

// nextLeast is the next of the least loaded members, which must then be given a partition.
func (b *balance) nextLeast() int32 {
	if b.leastNext >= b.leastEnd {
		b.leastLoad++
		for b.leastEnd < len(b.order) && b.load[b.order[b.leastEnd]] == b.leastLoad {
			b.leastEnd++
		}
		b.leastNext = 0
	}
	i := b.order[b.leastNext]
	b.leastNext++
	return i
}

// nextMost is the next of the most loaded members, which must then lose a partition or be excluded.
func (b *balance) nextMost() (int32, bool) {
	if b.mostNext < b.mostStart {
		if b.mostEnd <= b.mostStart && b.mostStart > 0 {
			b.mostLoad = b.load[b.order[b.mostStart-1]] // all above are excluded
		} else {
			b.mostLoad--
		}
		for b.mostStart > 0 && b.load[b.order[b.mostStart-1]] == b.mostLoad {
			b.mostStart--
		}
		b.mostNext = b.mostEnd - 1
	}
	if b.mostNext < 0 {
		return 0, false
	}
	i := b.order[b.mostNext]
	b.mostNext--
	return i, true
}

// exclude takes the member that nextMost has given out of its range.
func (b *balance) exclude() {
	i, last := b.mostNext+1, b.mostEnd-1
	b.order[i], b.order[last] = b.order[last], b.order[i]
	b.mostEnd--
}

// level tells whether the loads that are left to compare differ by at most one.
func (b *balance) level() bool { return b.mostLoad-b.leastLoad <= 1 }
