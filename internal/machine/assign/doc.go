// Package assign divides partitions and tasks among the members of groups: the assignors that run in the group
// coordinator.
//
// Duty: Uniform and Range for consumer groups (KIP-848), Simple for share groups (KIP-932), Sticky for the tasks of
// streams groups (KIP-1071). Each gives what Apache Kafka 4.3.1 gives wherever that does not depend on the order of
// a hash table; where it does, ascending ids take the place of that order. Like there, no assignor looks at racks.
//
// Invariants:
//   - The same input gives the same output.
//   - A partition has one owner (Simple: each owner once), and an owner has subscribed to its topic. That holds
//     whatever the members claim to own: what does not exist or is claimed twice is dropped.
//   - The result has one entry for each member, in the order of the members, sorted by topic and partition. A member
//     for which nothing changes gets its Owned back, the same memory, which tells the caller so cheaply.
//   - Time and memory are near-linear in members, partitions and subscriptions.
//
// Called by the group machines (internal/machine/group, share and streams). It must never keep or change its
// arguments, and never depend on the order of a map.
package assign

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// Topic is a topic that a member may have subscribed to.
type Topic struct {
	ID         wire.UUID
	Partitions int32
	// Assignable restricts Simple to these partitions, ascending; nil stands for all. The others do not look at it.
	Assignable []int32
}

// TopicPartitions is some of a topic's partitions, ascending, at least one.
type TopicPartitions struct {
	Topic      wire.UUID
	Partitions []int32
}

// Assignment is what a member has, ascending by topic id. It must not be written to: assignments share memory.
type Assignment []TopicPartitions

// Member is a member of a group. Members are given ascending by ID.
type Member struct {
	ID string
	// Instance is the id of a static member; only Range looks at it.
	Instance *string
	// Subscribed holds topic ids, ascending. Members with the same subscriptions should share the slice. Topics
	// that are not among the given ones do not count.
	Subscribed []wire.UUID
	// Owned is the member's present target assignment.
	Owned Assignment
}

// Equal tells whether two assignments have the same partitions.
func (a Assignment) Equal(b Assignment) bool {
	return slices.EqualFunc(a, b, func(x, y TopicPartitions) bool {
		return x.Topic == y.Topic && slices.Equal(x.Partitions, y.Partitions)
	})
}

// Count is the number of partitions.
func (a Assignment) Count() int {
	n := 0
	for i := range a {
		n += len(a[i].Partitions)
	}
	return n
}

// Homogeneous tells whether all members have the same subscriptions.
func Homogeneous(members []Member) bool {
	for i := 1; i < len(members); i++ {
		a, b := members[i-1].Subscribed, members[i].Subscribed
		if len(a) != len(b) || len(a) > 0 && &a[0] != &b[0] && !slices.Equal(a, b) {
			return false
		}
	}
	return true
}

// space numbers all partitions of some topics, topic after topic, so that a partition is one integer.
type space struct {
	topics []Topic // ascending by id
	index  map[wire.UUID]int32
	first  []int32 // of each topic, and behind it the number of all partitions
}

// newSpace makes the space of those topics that are wanted; nil wants all.
func newSpace(topics []Topic, wanted []wire.UUID) *space {
	s := &space{topics: make([]Topic, 0, len(topics))}
	for i := range topics {
		if wanted != nil {
			if _, ok := slices.BinarySearchFunc(wanted, topics[i].ID, compareIDs); !ok {
				continue
			}
		}
		s.topics = append(s.topics, topics[i])
	}
	byID := func(a, b Topic) int { return compareIDs(a.ID, b.ID) }
	if !slices.IsSortedFunc(s.topics, byID) {
		slices.SortFunc(s.topics, byID)
	}
	s.index = make(map[wire.UUID]int32, len(s.topics))
	s.first = make([]int32, len(s.topics)+1)
	for i := range s.topics {
		s.index[s.topics[i].ID] = int32(i)
		s.first[i+1] = s.first[i] + s.topics[i].Partitions
	}
	return s
}

func compareIDs(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) }

// total is the number of partitions.
func (s *space) total() int { return int(s.first[len(s.topics)]) }

// assignment is the form in which callers see partitions given as ascending numbers.
func (s *space) assignment(numbers []int32) Assignment {
	if len(numbers) == 0 {
		return nil
	}
	topics, t := 0, -1
	for _, n := range numbers {
		if t < 0 || n >= s.first[t+1] {
			t = s.topicOf(n, t+1)
			topics++
		}
	}
	out, partitions := make(Assignment, 0, topics), make([]int32, len(numbers))
	t = -1
	for i, n := range numbers {
		if t < 0 || n >= s.first[t+1] {
			t = s.topicOf(n, t+1)
			out = append(out, TopicPartitions{s.topics[t].ID, partitions[i:i:len(numbers)]})
		}
		last := &out[len(out)-1]
		last.Partitions = append(last.Partitions, n-s.first[t])
	}
	for i := range out {
		out[i].Partitions = slices.Clip(out[i].Partitions)
	}
	return out
}

// topicOf is the topic of partition n, which is not before topic from.
func (s *space) topicOf(n int32, from int) int {
	if n < s.first[from+1] {
		return from // most often the next one
	}
	i, _ := slices.BinarySearch(s.first[from:], n+1)
	return from + i - 1
}

// nobody owns a partition that is not assigned.
const nobody = -1

// owners makes a table of who owns each partition.
func (s *space) owners() []int32 {
	owners := make([]int32, s.total())
	for i := range owners {
		owners[i] = nobody
	}
	return owners
}
