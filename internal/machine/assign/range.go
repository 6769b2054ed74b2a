package assign

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// Range gives each member a range of each topic, so that members have the same partitions of topics with the same
// number of partitions and subscribers (co-partitioning): the assignor "range" of KIP-848. Static members come first, in
// the order of their instance ids, so that they keep their ranges when they come back with new member ids.
func Range(members []Member, topics []Topic) []Assignment {
	if len(members) == 0 {
		return nil
	}
	order := make([]int32, len(members))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compareForRange(&members[a], &members[b]) })
	r := &ranges{members: members, numbers: make([][]int32, len(members))}
	if Homogeneous(members) {
		r.space = newSpace(topics, notNil(members[0].Subscribed))
		for t := range r.topics {
			r.divide(int32(t), order)
		}
	} else {
		r.space = newSpace(topics, nil)
		for t, subscribers := range r.subscribers(order) {
			r.divide(int32(t), subscribers)
		}
	}
	return r.result()
}

func notNil(ids []wire.UUID) []wire.UUID {
	if ids == nil {
		return []wire.UUID{}
	}
	return ids
}

func compareForRange(a, b *Member) int {
	switch {
	case a.Instance != nil && b.Instance != nil:
		return cmp.Compare(*a.Instance, *b.Instance)
	case a.Instance != nil:
		return -1
	case b.Instance != nil:
		return 1
	default:
		return cmp.Compare(a.ID, b.ID)
	}
}

// ranges is one run of Range.
type ranges struct {
	*space
	members []Member
	numbers [][]int32 // by member, ascending because topics are divided in order
}

// subscribers lists who has subscribed to each topic, in the given order of members.
func (s *space) subscribersOf(members []Member, order func(yield func(int32) bool)) [][]int32 {
	out := make([][]int32, len(s.topics))
	for i := range order {
		for _, id := range members[i].Subscribed {
			if t, ok := s.index[id]; ok {
				out[t] = append(out[t], i)
			}
		}
	}
	return out
}

func (r *ranges) subscribers(order []int32) [][]int32 {
	return r.subscribersOf(r.members, func(yield func(int32) bool) {
		for _, i := range order {
			if !yield(i) {
				return
			}
		}
	})
}

// divide gives each subscriber a range of the topic, the first ones one partition more if it does not come out even.
func (r *ranges) divide(topic int32, subscribers []int32) {
	if len(subscribers) == 0 {
		return
	}
	count := int32(len(subscribers))
	quota, extra := r.topics[topic].Partitions/count, r.topics[topic].Partitions%count
	next, end := r.first[topic], r.first[topic+1]
	for k := int32(0); next < end; k++ {
		n := quota
		if k < extra {
			n++
		}
		i := subscribers[k]
		for ; n > 0; n-- {
			r.numbers[i] = append(r.numbers[i], next)
			next++
		}
	}
}

func (r *ranges) result() []Assignment {
	out := make([]Assignment, len(r.members))
	for i := range r.members {
		out[i] = r.assignment(r.numbers[i])
		if out[i].Equal(r.members[i].Owned) {
			out[i] = r.members[i].Owned
		}
	}
	return out
}
