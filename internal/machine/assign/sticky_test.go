package assign

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawTasks(t *rapid.T) (out Tasks) {
	for i := range 4 {
		set := rapid.SliceOfNDistinct(rapid.Int32Range(-1, 9), 0, 4, rapid.ID[int32]).Draw(t, "tasks")
		if len(set) > 0 {
			slices.Sort(set)
			out = append(out, SubtopologyTasks{fmt.Sprint(i), set})
		}
	}
	return out
}

// Whatever members claim to have had: each task is active once, standbys are in other processes, as many as there can
// be, and no member has far more than its share.
func TestSticky(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subs := make([]Subtopology, rapid.IntRange(0, 3).Draw(t, "subtopologies"))
		for i := range subs {
			subs[i] = Subtopology{fmt.Sprint(i), int32(rapid.IntRange(1, 8).Draw(t, "tasks")), rapid.Bool().Draw(t, "stateful")}
		}
		workers := make([]Worker, rapid.IntRange(1, 7).Draw(t, "workers"))
		processes := map[string]bool{}
		for i := range workers {
			p := fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "process"))
			processes[p] = true
			workers[i] = Worker{ID: fmt.Sprintf("w%d", i), Process: p, Active: drawTasks(t), Standby: drawTasks(t)}
		}
		standbys := rapid.IntRange(0, 3).Draw(t, "standbys")
		out := Sticky(workers, subs, standbys)
		active, standby := map[string]int{}, map[string][]string{}
		total := 0
		for i, a := range out {
			for _, s := range a.Active {
				for _, p := range s.Partitions {
					active[fmt.Sprint(s.Subtopology, "_", p)]++
					standby[fmt.Sprint(s.Subtopology, "_", p)] = append(standby[fmt.Sprint(s.Subtopology, "_", p)], workers[i].Process)
					total++
				}
			}
			for _, s := range a.Standby {
				for _, p := range s.Partitions {
					standby[fmt.Sprint(s.Subtopology, "_", p)] = append(standby[fmt.Sprint(s.Subtopology, "_", p)], workers[i].Process)
				}
			}
		}
		for _, s := range subs {
			for p := range s.Tasks {
				id := fmt.Sprint(s.ID, "_", p)
				if active[id] != 1 {
					t.Fatalf("task %s is active %d times", id, active[id])
				}
				delete(active, id)
				want := 1
				if s.Stateful {
					want = min(1+standbys, len(processes))
				}
				where := standby[id]
				slices.Sort(where)
				if n := len(where); n != want || len(slices.Compact(where)) != n {
					t.Fatalf("task %s is in processes %v, which should be %d", id, where, want)
				}
			}
		}
		if len(active) > 0 {
			t.Fatalf("tasks that there are not: %v", active)
		}
	})
}

// A group at rest stays as it is, and who leaves takes only its own tasks along.
func TestStickyStays(t *testing.T) {
	subs := []Subtopology{{"0", 12, false}, {"1", 12, true}}
	workers := make([]Worker, 6)
	for i := range workers {
		workers[i] = Worker{ID: fmt.Sprintf("w%d", i), Process: fmt.Sprint(i / 2)}
	}
	first := Sticky(workers, subs, 1)
	for i := range workers {
		workers[i].Active, workers[i].Standby = first[i].Active, first[i].Standby
	}
	for i, a := range Sticky(workers, subs, 1) {
		if !a.Active.Equal(first[i].Active) {
			t.Errorf("worker %d had %v and gets %v", i, first[i].Active, a.Active)
		}
	}
	for i, a := range Sticky(workers[1:], subs, 1) {
		for _, s := range workers[i+1].Active {
			at := slices.IndexFunc(a.Active, func(x SubtopologyTasks) bool { return x.Subtopology == s.Subtopology })
			for _, p := range s.Partitions {
				if at < 0 || !slices.Contains(a.Active[at].Partitions, p) {
					t.Errorf("worker %d lost task %s_%d when another one left", i+1, s.Subtopology, p)
				}
			}
		}
	}
}
