package isolation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// graph has, for each transaction, those that come behind it, with the reason.
type graph map[int]map[int]string

func (g graph) add(from, to int, format string, args ...any) {
	if from == to {
		return
	}
	if g[from] == nil {
		g[from] = map[int]string{}
	}
	if g[from][to] == "" {
		g[from][to] = fmt.Sprintf(format, args...)
	}
}

// cycles finds cycles of writes (G0), and of writes and reads (G1c).
func (c *check) cycles() {
	g := graph{}
	for _, key := range slices.Sorted(maps.Keys(c.order)) {
		list := c.order[key]
		for i := 1; i < len(list); i++ {
			g.add(list[i-1].txn.ID, list[i].txn.ID, "%s overwritten", key)
		}
	}
	written := g.cyclic(G0, c)
	for _, t := range c.h.Txns {
		for i := range t.Reads {
			r := &t.Reads[i]
			if !t.Uncommitted && c.committed[t.ID] && c.committed[r.Version.Txn] {
				g.add(r.Version.Txn, t.ID, "%s read", r.Key)
			}
		}
	}
	if !written {
		g.cyclic(G1c, c)
	}
}

// cyclic tells of one cycle in each strongly connected part.
func (g graph) cyclic(kind Kind, c *check) bool {
	s := &search{g: g, index: map[int]int{}, low: map[int]int{}, on: map[int]bool{}}
	for _, id := range slices.Sorted(maps.Keys(g)) {
		if s.index[id] == 0 {
			s.visit(id)
		}
	}
	for _, part := range s.parts {
		cycle := g.shortest(part)
		var text strings.Builder
		for i, id := range cycle {
			fmt.Fprintf(&text, "%d (%s) -%s-> ", id, c.txns[id].Client, g[id][cycle[(i+1)%len(cycle)]])
		}
		c.add(kind, cycle, "%s%d", text.String(), cycle[0])
	}
	return len(s.parts) > 0
}

// search is Tarjan's.
type search struct {
	g          graph
	index, low map[int]int
	on         map[int]bool
	stack      []int
	count      int
	parts      [][]int // with more than one transaction
}

func (s *search) visit(id int) {
	s.count++
	s.index[id], s.low[id], s.on[id] = s.count, s.count, true
	s.stack = append(s.stack, id)
	for _, next := range slices.Sorted(maps.Keys(s.g[id])) {
		if s.index[next] == 0 {
			s.visit(next)
			s.low[id] = min(s.low[id], s.low[next])
		} else if s.on[next] {
			s.low[id] = min(s.low[id], s.index[next])
		}
	}
	if s.low[id] != s.index[id] {
		return
	}
	at := slices.Index(s.stack, id)
	part := slices.Clone(s.stack[at:])
	for _, gone := range part {
		s.on[gone] = false
	}
	s.stack = s.stack[:at]
	if len(part) > 1 {
		slices.Sort(part)
		s.parts = append(s.parts, part)
	}
}

// shortest is a shortest cycle through the first of a strongly connected part.
func (g graph) shortest(part []int) []int {
	first := part[0]
	before := map[int]int{first: first}
	for queue := []int{first}; len(queue) > 0; queue = queue[1:] {
		for _, next := range slices.Sorted(maps.Keys(g[queue[0]])) {
			if next == first {
				cycle := []int{queue[0]}
				for cycle[0] != first {
					cycle = slices.Insert(cycle, 0, before[cycle[0]])
				}
				return cycle
			}
			if _, had := before[next]; !had && slices.Contains(part, next) {
				before[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	return part
}
