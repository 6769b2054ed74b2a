package assign

import (
	"cmp"
	"slices"
)

// Subtopology is a part of a topology, whose tasks are numbered as the partitions of its input.
type Subtopology struct {
	ID       string
	Tasks    int32
	Stateful bool
}

// SubtopologyTasks is some tasks of a subtopology, ascending, at least one.
type SubtopologyTasks struct {
	Subtopology string
	Partitions  []int32
}

// Tasks is a set of tasks, ascending by subtopology.
type Tasks []SubtopologyTasks

// Equal tells whether two sets have the same tasks.
func (t Tasks) Equal(u Tasks) bool {
	return slices.EqualFunc(t, u, func(x, y SubtopologyTasks) bool {
		return x.Subtopology == y.Subtopology && slices.Equal(x.Partitions, y.Partitions)
	})
}

// Worker is a member of a streams group. Workers are given ascending by ID.
type Worker struct {
	ID string
	// Process names the process that the member is a thread of: standbys of one task never share a process with it.
	Process string
	// Active and Standby are the member's present target assignment.
	Active, Standby Tasks
}

// TaskAssignment is what a member of a streams group gets. There are no warm-up tasks, for Apache Kafka 4.3.1's
// assignor gives none.
type TaskAssignment struct{ Active, Standby Tasks }

// Sticky assigns the tasks of a topology: the assignor "sticky" of KIP-1071. Tasks stay where they were or go where
// their standbys were as far as that keeps the members' loads level; the others go to the process with the least
// load. Tasks of stateful subtopologies get standbys in other processes, as many as there are processes for.
// Subtopologies are given ascending by ID. There must be a worker.
func Sticky(workers []Worker, subtopologies []Subtopology, standbys int) []TaskAssignment {
	s := newSticky(workers, subtopologies, standbys)
	s.remember()
	s.assignActive()
	if standbys > 0 {
		s.assignStandby()
	}
	return s.result()
}

// task is a task: places in the list of subtopologies and in its partitions.
type task struct{ sub, partition int32 }

// process is what runs several members.
type process struct {
	members []int32
	count   int     // tasks
	load    float64 // tasks for each member
	queue   heap    // members by their numbers of tasks; empty when it must be made anew
}

// sticky is one run of Sticky.
type sticky struct {
	workers   []Worker
	subs      []Subtopology
	standbys  int
	first     []int32 // of each subtopology: the number of its first task
	processes []process
	processOf []int32 // by member
	count     []int32 // by member: tasks it has got

	before        []int32   // by task: the member that had it active
	beforeStandby [][]int32 // by task: the members that had it as standby
	holders       [][]int32 // by task: processes that have got it

	active, standby [][]task // by member: the result

	// How many tasks a member may get before others must be asked, and over what that is computed.
	activeQuota, quota quota
}

// quota is the largest number of tasks for a member when they are spread evenly. Members that have reached it leave
// the computation with their tasks.
type quota struct{ each, tasks, members int }

func newQuota(tasks, members int) quota {
	q := quota{tasks: tasks, members: members}
	q.compute()
	return q
}

func (q *quota) compute() {
	if q.each = 0; q.members > 0 {
		q.each = ceilDiv(q.tasks, q.members)
	}
}

func (q *quota) reached(tasks int) {
	if tasks == q.each {
		q.members--
		q.tasks -= tasks
		q.compute()
	}
}

func newSticky(workers []Worker, subs []Subtopology, standbys int) *sticky {
	s := &sticky{
		workers: workers, subs: subs, standbys: standbys, first: make([]int32, len(subs)+1),
		processOf: make([]int32, len(workers)), count: make([]int32, len(workers)),
		active: make([][]task, len(workers)), standby: make([][]task, len(workers)),
	}
	all := 0
	for i := range subs {
		s.first[i+1] = s.first[i] + subs[i].Tasks
		if all += int(subs[i].Tasks); subs[i].Stateful {
			all += int(subs[i].Tasks) * standbys
		}
	}
	n := int(s.first[len(subs)])
	s.activeQuota, s.quota = newQuota(n, len(workers)), newQuota(all, len(workers))
	s.before, s.beforeStandby, s.holders = make([]int32, n), make([][]int32, n), make([][]int32, n)
	for i := range s.before {
		s.before[i] = nobody
	}
	s.findProcesses()
	return s
}

// findProcesses numbers the processes in the order of their names.
func (s *sticky) findProcesses() {
	names := make([]string, len(s.workers))
	for i := range s.workers {
		names[i] = s.workers[i].Process
	}
	slices.Sort(names)
	names = slices.Compact(names)
	s.processes = make([]process, len(names))
	for i := range s.workers {
		p, _ := slices.BinarySearch(names, s.workers[i].Process)
		s.processOf[i] = int32(p)
		s.processes[p].members = append(s.processes[p].members, int32(i))
	}
}

func (s *sticky) number(t task) int32 { return s.first[t.sub] + t.partition }

// remember notes who had which task.
func (s *sticky) remember() {
	for i := range s.workers {
		s.each(s.workers[i].Active, func(n int32) { s.before[n] = int32(i) })
		s.each(s.workers[i].Standby, func(n int32) { s.beforeStandby[n] = append(s.beforeStandby[n], int32(i)) })
	}
}

// each calls f for those of the tasks that there are.
func (s *sticky) each(tasks Tasks, f func(number int32)) {
	for _, st := range tasks {
		sub, ok := slices.BinarySearchFunc(s.subs, st.Subtopology, func(a Subtopology, id string) int { return cmp.Compare(a.ID, id) })
		if !ok {
			continue
		}
		for _, p := range st.Partitions {
			if p >= 0 && p < s.subs[sub].Tasks {
				f(s.first[sub] + p)
			}
		}
	}
}

// tasks lists the tasks of all subtopologies, or of those with state.
func (s *sticky) tasks(stateful bool) []task {
	var out []task
	for i := range s.subs {
		if stateful && !s.subs[i].Stateful {
			continue
		}
		for p := range s.subs[i].Tasks {
			out = append(out, task{int32(i), p})
		}
	}
	return out
}

func bySubtopology(a, b task) int {
	return cmp.Or(cmp.Compare(a.sub, b.sub), cmp.Compare(a.partition, b.partition))
}

func byPartition(a, b task) int {
	return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.sub, b.sub))
}

// assignActive gives each task to one member: first to who had it, then to who had its standby, then to the least
// loaded process.
func (s *sticky) assignActive() {
	tasks := s.tasks(false)
	slices.SortFunc(tasks, byPartition)
	tasks = slices.DeleteFunc(tasks, func(t task) bool {
		member := s.before[s.number(t)]
		return member != nobody && s.assignWithin(member, t)
	})
	tasks = slices.DeleteFunc(tasks, func(t task) bool {
		member := s.leastLoaded(s.beforeStandby[s.number(t)], nil)
		return member != nobody && s.assignWithin(member, t)
	})
	slices.SortFunc(tasks, bySubtopology)
	queue := s.processQueue()
	for _, t := range tasks {
		p := queue.poll()
		n := s.addToLeast(p, t, true)
		s.activeQuota.reached(n)
		s.quota.reached(n)
		queue.add(p)
	}
}

// assignWithin gives a member the task if its quota allows.
func (s *sticky) assignWithin(member int32, t task) bool {
	if int(s.count[member]) >= s.activeQuota.each {
		return false
	}
	n := s.addTo(member, t, true)
	s.activeQuota.reached(n)
	s.quota.reached(n)
	return true
}

// leastLoaded is which of the members has less load than those before it, in its process and by itself. With a task
// given, only processes count that do not have it yet.
func (s *sticky) leastLoaded(members []int32, without *task) int32 {
	if len(members) == 0 {
		return nobody
	}
	first := members[0]
	best, load := first, s.processes[s.processOf[first]].load
	for _, member := range members[1:] {
		p := s.processOf[member]
		if s.processes[p].load >= load || without != nil && s.hasTask(p, *without) {
			continue
		}
		if s.count[member] < s.count[best] {
			best, load = member, s.processes[p].load
		}
	}
	if without != nil && s.hasTask(s.processOf[first], *without) {
		return nobody // as Kafka has it, which looks at the first one only
	}
	return best
}

func (s *sticky) hasTask(p int32, t task) bool { return slices.Contains(s.holders[s.number(t)], p) }

// addTo gives a member a task and says how many it has.
func (s *sticky) addTo(member int32, t task, active bool) int {
	p := s.processOf[member]
	s.processes[p].queue = heap{}
	return s.add(member, t, active)
}

func (s *sticky) add(member int32, t task, active bool) int {
	p := s.processOf[member]
	s.holders[s.number(t)] = append(s.holders[s.number(t)], p)
	if active {
		s.active[member] = append(s.active[member], t)
	} else {
		s.standby[member] = append(s.standby[member], t)
	}
	s.count[member]++
	s.processes[p].count++
	s.processes[p].load = float64(s.processes[p].count) / float64(len(s.processes[p].members))
	return int(s.count[member])
}

// addToLeast gives a task to the process' member with the fewest tasks and says how many that has.
func (s *sticky) addToLeast(p int32, t task, active bool) int {
	proc := &s.processes[p]
	if len(proc.members) == 1 {
		return s.add(proc.members[0], t, active)
	}
	if proc.queue.less == nil {
		proc.queue = heap{less: func(a, b int32) bool { return s.count[a] < s.count[b] }}
		for _, member := range proc.members {
			proc.queue.add(member)
		}
	}
	member := proc.queue.poll()
	n := s.add(member, t, active)
	proc.queue.add(member)
	return n
}

// processQueue has all processes, the least loaded first.
func (s *sticky) processQueue() *heap {
	h := &heap{less: func(a, b int32) bool { return s.processes[a].load < s.processes[b].load }}
	for p := range s.processes {
		h.add(int32(p))
	}
	return h
}

// assignStandby gives the standbys of each task to who had the task, then to who had a standby, then to the least
// loaded processes without it.
func (s *sticky) assignStandby() {
	tasks := s.tasks(true)
	slices.SortFunc(tasks, func(a, b task) int { return byPartition(b, a) })
	left := make(map[task]int, len(tasks))
	for _, t := range tasks {
		n := 0
		for n < s.standbys && s.keepStandby(t) {
			n++
		}
		left[t] = s.standbys - n
	}
	slices.SortFunc(tasks, func(a, b task) int { return bySubtopology(b, a) })
	queue := s.processQueue()
	for _, t := range tasks {
		for range left[t] {
			if !s.placeStandby(queue, t) {
				break // there are not enough processes
			}
		}
	}
}

// keepStandby gives one standby of the task to a member that had the task before.
func (s *sticky) keepStandby(t task) bool {
	n := s.number(t)
	if m := s.before[n]; m != nobody && !s.hasTask(s.processOf[m], t) && int(s.count[m]) < s.quota.each {
		s.quota.reached(s.addTo(m, t, false))
		return true
	}
	m := s.leastLoaded(s.beforeStandby[n], &t)
	if m == nobody || int(s.count[m]) >= s.quota.each {
		return false
	}
	s.quota.reached(s.addTo(m, t, false))
	return true
}

// placeStandby gives one standby of the task to the least loaded process without the task.
func (s *sticky) placeStandby(queue *heap, t task) bool {
	var passed []int32
	found := false
	for len(queue.items) > 0 && !found {
		p := queue.poll()
		passed = append(passed, p)
		if !s.hasTask(p, t) {
			s.quota.reached(s.addToLeast(p, t, false))
			found = true
		}
	}
	for _, p := range slices.Backward(passed) {
		queue.add(p)
	}
	return found
}

func (s *sticky) result() []TaskAssignment {
	out := make([]TaskAssignment, len(s.workers))
	for i := range out {
		out[i] = TaskAssignment{s.collect(s.active[i]), s.collect(s.standby[i])}
	}
	return out
}

func (s *sticky) collect(tasks []task) Tasks {
	slices.SortFunc(tasks, bySubtopology)
	var out Tasks
	for i, t := range tasks {
		if i == 0 || t.sub != tasks[i-1].sub {
			out = append(out, SubtopologyTasks{Subtopology: s.subs[t.sub].ID})
		}
		last := &out[len(out)-1]
		last.Partitions = append(last.Partitions, t.partition)
	}
	return out
}

// heap is a priority queue that treats equals as Java's does, on which the result depends.
type heap struct {
	items []int32
	less  func(a, b int32) bool
}

func (h *heap) add(x int32) {
	h.items = append(h.items, x)
	k := len(h.items) - 1
	for k > 0 {
		parent := (k - 1) / 2
		if !h.less(x, h.items[parent]) {
			break
		}
		h.items[k] = h.items[parent]
		k = parent
	}
	h.items[k] = x
}

// poll takes the first out. There must be one.
func (h *heap) poll() int32 {
	top, n := h.items[0], len(h.items)-1
	x := h.items[n]
	h.items = h.items[:n]
	if n == 0 {
		return top
	}
	k := 0
	for k < n/2 {
		child := 2*k + 1
		if right := child + 1; right < n && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], x) {
			break
		}
		h.items[k] = h.items[child]
		k = child
	}
	h.items[k] = x
	return top
}
