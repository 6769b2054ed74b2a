package streams

import (
	"cmp"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/machine/assign"
)

// task is one task of a topology.
type task struct {
	subtopology string
	partition   int32
}

func compareTasks(a, b task) int {
	return cmp.Or(cmp.Compare(a.subtopology, b.subtopology), cmp.Compare(a.partition, b.partition))
}

// tasks are tasks with the epoch in which each was assigned, which counts for active tasks only.
type tasks map[task]int32

// sorted are the tasks in order.
func (t tasks) sorted() []task { return slices.SortedFunc(maps.Keys(t), compareTasks) }

// overlaps says whether a task is in both.
func (t tasks) overlaps(u tasks) bool {
	for k := range t { //unordered: any one will do
		if _, ok := u[k]; ok {
			return true
		}
	}
	return false
}

// contains says whether all tasks of u are here.
func (t tasks) contains(u tasks) bool {
	for k := range u { //unordered: all of them count
		if _, ok := t[k]; !ok {
			return false
		}
	}
	return true
}

// sets are the tasks as an assignor gives them.
func (t tasks) sets() assign.Tasks {
	var out assign.Tasks
	for _, k := range t.sorted() {
		if n := len(out); n == 0 || out[n-1].Subtopology != k.subtopology {
			out = append(out, assign.SubtopologyTasks{Subtopology: k.subtopology})
		}
		last := &out[len(out)-1]
		last.Partitions = append(last.Partitions, k.partition)
	}
	return out
}

// tasksOf reads tasks in any of their wire forms.
func tasksOf[T any](sets []T, read func(*T) (subtopology string, partitions []int32)) tasks {
	out := tasks{}
	for i := range sets {
		subtopology, partitions := read(&sets[i])
		for _, p := range partitions {
			out[task{subtopology, p}] = 0
		}
	}
	return out
}

// holding is what a member has, by the role that it has the tasks in.
type holding struct{ active, standby, warmup tasks }

func emptyHolding() holding { return holding{tasks{}, tasks{}, tasks{}} }

func (h *holding) roles() [roles]tasks { return [roles]tasks{h.active, h.standby, h.warmup} }

func (h *holding) empty() bool { return len(h.active)+len(h.standby)+len(h.warmup) == 0 }

func (h *holding) overlaps(o *holding) bool {
	return h.active.overlaps(o.active) || h.standby.overlaps(o.standby) || h.warmup.overlaps(o.warmup)
}

func (h *holding) equal(o *holding) bool {
	return maps.Equal(h.active, o.active) && maps.Equal(h.standby, o.standby) && maps.Equal(h.warmup, o.warmup)
}

// same says whether two have the same tasks, whatever their epochs.
func (h *holding) same(o *holding) bool {
	a, b := h.roles(), o.roles()
	for i := range a {
		if len(a[i]) != len(b[i]) || !a[i].contains(b[i]) {
			return false
		}
	}
	return true
}

func (h *holding) add(o *holding) {
	maps.Copy(h.active, o.active)
	maps.Copy(h.standby, o.standby)
	maps.Copy(h.warmup, o.warmup)
}

// The roles in which a member has a task.
const (
	active = iota
	standby
	warmup
	roles
)

// target is what a member should have.
type target struct{ active, standby, warmup assign.Tasks }

func (t *target) equal(u *target) bool {
	return t.active.Equal(u.active) && t.standby.Equal(u.standby) && t.warmup.Equal(u.warmup)
}

// owners counts, for each task, the members of each process that have it.
type owners map[task]map[string]int

func (o owners) add(t tasks, process string, n int) {
	for k := range t { //unordered: tasks are counted apart
		if o[k] == nil {
			o[k] = map[string]int{}
		}
		if o[k][process] += n; o[k][process] <= 0 {
			if delete(o[k], process); len(o[k]) == 0 {
				delete(o, k)
			}
		}
	}
}

func (o owners) in(t task, process string) bool { return o[t][process] > 0 }
