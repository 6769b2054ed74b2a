package assign

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
)

func topicID(i int) wire.UUID { return wire.UUID{14: byte(i >> 8), 15: byte(i)} }

// drawGroup makes a group whose members may claim nonsense.
func drawGroup(t *rapid.T, mixed bool) ([]Member, []Topic) {
	topics := make([]Topic, rapid.IntRange(0, 6).Draw(t, "topics"))
	for i := range topics {
		topics[i] = Topic{ID: topicID(i + 1), Partitions: int32(rapid.IntRange(0, 12).Draw(t, "partitions"))}
	}
	subscription := func() (ids []wire.UUID) {
		for i := range len(topics) + 1 { // one of them does not exist
			if rapid.IntRange(0, 3).Draw(t, "subscribed") > 0 {
				ids = append(ids, topicID(i+1))
			}
		}
		return ids
	}
	all := subscription()
	members := make([]Member, rapid.IntRange(0, 7).Draw(t, "members"))
	for i := range members {
		members[i] = Member{ID: fmt.Sprintf("m%02d", i), Subscribed: all}
		if mixed {
			members[i].Subscribed = subscription()
		}
		if rapid.IntRange(0, 4).Draw(t, "static") == 0 {
			id := fmt.Sprintf("i%d", 9-i)
			members[i].Instance = &id
		}
		for j := range len(topics) + 2 {
			set := rapid.SliceOfNDistinct(rapid.Int32Range(0, 13), 0, 5, rapid.ID[int32]).Draw(t, "owned")
			if len(set) > 0 && rapid.Bool().Draw(t, "owns") {
				slices.Sort(set)
				members[i].Owned = append(members[i].Owned, TopicPartitions{topicID(j + 1), set})
			}
		}
	}
	return members, topics
}

// checkShape checks what holds for all assignors and counts owners: by topic and partition, and by member.
func checkShape(t *rapid.T, members []Member, topics []Topic, out []Assignment) (map[wire.UUID]map[int32]int, []int) {
	if len(out) != len(members) {
		t.Fatalf("%d assignments for %d members", len(out), len(members))
	}
	owners, counts := map[wire.UUID]map[int32]int{}, make([]int, len(members))
	for i, a := range out {
		if !slices.IsSortedFunc(a, func(x, y TopicPartitions) int { return compareIDs(x.Topic, y.Topic) }) {
			t.Fatalf("member %d: topics do not ascend: %v", i, a)
		}
		for _, tp := range a {
			at := slices.IndexFunc(topics, func(x Topic) bool { return x.ID == tp.Topic })
			if at < 0 || !slices.Contains(members[i].Subscribed, tp.Topic) {
				t.Fatalf("member %d has topic %v, which it has not subscribed to or does not exist", i, tp.Topic)
			}
			if !slices.IsSorted(tp.Partitions) || len(tp.Partitions) == 0 {
				t.Fatalf("member %d: partitions %v", i, tp.Partitions)
			}
			if owners[tp.Topic] == nil {
				owners[tp.Topic] = map[int32]int{}
			}
			for k, p := range tp.Partitions {
				if p < 0 || p >= topics[at].Partitions || k > 0 && p == tp.Partitions[k-1] {
					t.Fatalf("member %d has partitions %v of %d", i, tp.Partitions, topics[at].Partitions)
				}
				owners[tp.Topic][p]++
				counts[i]++
			}
		}
	}
	return owners, counts
}

func checkOnce(t *rapid.T, members []Member, topics []Topic, out []Assignment) []int {
	owners, counts := checkShape(t, members, topics, out)
	for _, topic := range topics {
		wanted := slices.ContainsFunc(members, func(m Member) bool { return m.subscribed(topic.ID) })
		for p := range topic.Partitions {
			if n := owners[topic.ID][p]; wanted && n != 1 || !wanted && n != 0 {
				t.Fatalf("partition %d of %v has %d owners", p, topic.ID, n)
			}
		}
	}
	return counts
}

// settled gives members what an assignor has given them.
func settled(members []Member, out []Assignment) []Member {
	members = slices.Clone(members)
	for i := range members {
		members[i].Owned = out[i]
	}
	return members
}

func checkStill(t *rapid.T, assignor func([]Member, []Topic) []Assignment, members []Member, topics []Topic, out []Assignment) {
	again := assignor(settled(members, out), topics)
	for i := range out {
		if !again[i].Equal(out[i]) {
			t.Fatalf("member %d: %v became %v without need", i, out[i], again[i])
		}
	}
}

func TestUniform(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, topics := drawGroup(t, false)
		out := Uniform(members, topics)
		counts := checkOnce(t, members, topics, out)
		if len(counts) > 0 && slices.Max(counts)-slices.Min(counts) > 1 {
			t.Fatalf("not balanced: %v", counts)
		}
		checkStill(t, Uniform, members, topics, out)
	})
}

func TestUniformLeave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, topics := drawGroup(t, false)
		if len(members) < 2 {
			return
		}
		members = settled(members, Uniform(members, topics))
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "gone")
		members = slices.Delete(members, gone, gone+1)
		for i, a := range Uniform(members, topics) {
			for _, o := range members[i].Owned {
				for _, p := range o.Partitions {
					if j := slices.IndexFunc(a, func(x TopicPartitions) bool { return x.Topic == o.Topic }); j < 0 || !slices.Contains(a[j].Partitions, p) {
						t.Fatalf("member %s lost partition %d of %v when another one left", members[i].ID, p, o.Topic)
					}
				}
			}
		}
	})
}

func TestUniformMixed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, topics := drawGroup(t, true)
		out := Uniform(members, topics)
		counts := checkOnce(t, members, topics, out)
		checkStill(t, Uniform, members, topics, out)
		// No partition could go to a subscriber that has two fewer.
		for i, a := range out {
			for _, o := range a {
				for j := range members {
					if members[j].subscribed(o.Topic) && counts[i]-counts[j] > 1 {
						t.Fatalf("member %d has %d, member %d has %d, and both have subscribed to %v", i, counts[i], j, counts[j], o.Topic)
					}
				}
			}
		}
	})
}

func TestRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, topics := drawGroup(t, rapid.Bool().Draw(t, "mixed"))
		out := Range(members, topics)
		checkOnce(t, members, topics, out)
		checkStill(t, Range, members, topics, out)
		for i, a := range out {
			for _, o := range a {
				if n := len(o.Partitions); int(o.Partitions[n-1]-o.Partitions[0]) != n-1 {
					t.Fatalf("member %d: %v is not a range", i, o.Partitions)
				}
			}
		}
		if !Homogeneous(members) {
			return
		}
		for i, a := range out {
			for _, x := range a {
				for _, y := range a {
					same := topics[slices.IndexFunc(topics, func(t Topic) bool { return t.ID == x.Topic })].Partitions ==
						topics[slices.IndexFunc(topics, func(t Topic) bool { return t.ID == y.Topic })].Partitions
					if same && !slices.Equal(x.Partitions, y.Partitions) {
						t.Fatalf("member %d has %v and %v of topics with the same number of partitions", i, x.Partitions, y.Partitions)
					}
				}
			}
		}
	})
}

func TestSimple(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mixed := rapid.Bool().Draw(t, "mixed")
		members, topics := drawGroup(t, mixed)
		out := Simple(members, topics)
		owners, counts := checkShape(t, members, topics, out)
		for _, topic := range topics {
			wanted := slices.ContainsFunc(members, func(m Member) bool { return m.subscribed(topic.ID) })
			for p := range topic.Partitions {
				if n := owners[topic.ID][p]; wanted && n == 0 {
					t.Fatalf("partition %d of %v has nobody", p, topic.ID)
				}
			}
		}
		if Homogeneous(members) && len(members) > 0 && slices.Max(counts)-slices.Min(counts) > 1 {
			t.Fatalf("not balanced: %v", counts)
		}
		checkStill(t, Simple, members, topics, out)
	})
}

func TestSimpleAssignable(t *testing.T) {
	members := []Member{{ID: "a", Subscribed: []wire.UUID{topicID(1)}}, {ID: "b", Subscribed: []wire.UUID{topicID(1)}}}
	out := Simple(members, []Topic{{ID: topicID(1), Partitions: 4, Assignable: []int32{1, 3}}})
	want := []Assignment{{{topicID(1), []int32{1}}}, {{topicID(1), []int32{3}}}}
	if !slices.EqualFunc(out, want, Assignment.Equal) {
		t.Fatalf("got %v", out)
	}
	if out := Simple(members, []Topic{{ID: topicID(1), Partitions: 4, Assignable: []int32{}}}); out[0] != nil || out[1] != nil {
		t.Fatalf("got %v", out)
	}
}

// large makes a group of n members over n partitions of so many topics.
func large(n, topics int) ([]Member, []Topic) {
	ts, ids := make([]Topic, topics), make([]wire.UUID, topics)
	for i := range ts {
		ids[i] = topicID(i + 1)
		ts[i] = Topic{ID: ids[i], Partitions: int32(n / topics)}
	}
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{ID: fmt.Sprintf("member-%04d", i), Subscribed: ids}
	}
	return members, ts
}

func BenchmarkAssign(b *testing.B) {
	for _, topics := range []int{1, 100, 1000} {
		for name, f := range map[string]func([]Member, []Topic) []Assignment{"uniform": Uniform, "range": Range, "simple": Simple} {
			members, ts := large(1000, topics)
			b.Run(fmt.Sprintf("%s/birth/topics=%d", name, topics), func(b *testing.B) {
				for b.Loop() {
					f(members, ts)
				}
			})
			left := settled(members, f(members, ts))[1:]
			b.Run(fmt.Sprintf("%s/leave/topics=%d", name, topics), func(b *testing.B) {
				for b.Loop() {
					f(left, ts)
				}
			})
		}
	}
	members, ts := large(1000, 100)
	members[0].Subscribed = members[0].Subscribed[1:]
	b.Run("uniform/mixed", func(b *testing.B) {
		for b.Loop() {
			Uniform(members, ts)
		}
	})
	workers := make([]Worker, 1000)
	for i := range workers {
		workers[i] = Worker{ID: fmt.Sprintf("member-%04d", i), Process: fmt.Sprintf("p%d", i/4)}
	}
	subs := []Subtopology{{"0", 500, true}, {"1", 500, false}}
	b.Run("sticky/birth", func(b *testing.B) {
		for b.Loop() {
			Sticky(workers, subs, 1)
		}
	})
}
