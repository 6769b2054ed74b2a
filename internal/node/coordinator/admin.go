package coordinator

import (
	"strings"
	"sync/atomic"

	"github.com/moldau/moldau/internal/format/wire"
)

// gather calls done when all parts of an answer are there. The one who starts the parts counts as a part, so that
// done is not called while parts are still being started.
type gather struct {
	left atomic.Int32
	done func()
}

func newGather(parts int, done func()) *gather {
	g := &gather{done: done}
	g.left.Store(int32(parts) + 1)
	return g
}

func (g *gather) one() {
	if g.left.Add(-1) == 0 {
		g.done()
	}
}

// describeEach has each group described or refused, and calls done when all are. What is described is committed, so that
// nobody sees what a failed write takes back.
func (c *Groups) describeEach(ids []string, describe func(m *groupMachine, i int, id string), refuse func(i int, id string, code wire.Code), done func()) {
	all := newGather(len(ids), done)
	for i := range ids {
		id := strings.Clone(ids[i])
		refused := func(code wire.Code) {
			refuse(i, id, code)
			all.one()
		}
		if id == "" {
			refused(wire.InvalidGroupID)
			continue
		}
		c.shardFor(id).after(func(m *groupMachine, t *turn, code wire.Code) {
			if code != wire.None {
				t.calls = append(t.calls, func() { refused(code) })
				return
			}
			describe(m, i, id)
			t.calls = append(t.calls, all.one)
		}, refused)
	}
	all.one()
}

// DescribeGroups serves one DescribeGroups request, in the order of its groups. Authorized operations are left to the
// broker.
func (c *Groups) DescribeGroups(req *wire.DescribeGroupsRequest, _ Client, version int16, done func(*wire.DescribeGroupsResponse)) {
	resp := &wire.DescribeGroupsResponse{Groups: make([]wire.DescribeGroupsResponseDescribedGroup, len(req.Groups))}
	for i, id := range req.Groups {
		out := &resp.Groups[i]
		c.shardFor(id).do(func(m *groupMachine, _ *turn) func(*turn, wire.Code) {
			*out = m.machine.DescribeGroup(id, version)
			return nil
		}, func(code wire.Code) {
			out.SetDefaults()
			out.GroupID, out.ErrorCode = strings.Clone(id), code
		})
	}
	done(resp)
}

// ListGroups serves one ListGroups request: the groups of all partitions led here. While one of them loads there is
// no answer, since it would not be whole.
func (c *Groups) ListGroups(req *wire.ListGroupsRequest, _ Client, _ int16, done func(*wire.ListGroupsResponse)) {
	resp := &wire.ListGroupsResponse{}
	for _, s := range *c.shards.Load() {
		s.do(func(m *groupMachine, _ *turn) func(*turn, wire.Code) {
			resp.Groups = append(resp.Groups, m.machine.ListGroups(req.StatesFilter, req.TypesFilter)...)
			return nil
		}, func(code wire.Code) {
			if code != wire.NotCoordinator {
				resp.ErrorCode = code
			}
		})
	}
	if resp.ErrorCode != wire.None {
		resp.Groups = nil
	}
	done(resp)
}

// DeleteGroups serves one DeleteGroups request, in the order of its groups. A group that is named twice is answered
// once, as Kafka does.
func (c *Groups) DeleteGroups(req *wire.DeleteGroupsRequest, _ Client, _ int16, done func(*wire.DeleteGroupsResponse)) {
	var names []string
	seen := map[string]bool{}
	for _, id := range req.GroupsNames {
		if !seen[id] {
			seen[id] = true
			names = append(names, strings.Clone(id))
		}
	}
	c.deleteShareStates(names, func(failed map[string]wire.Code) { deleteGroups(c, names, failed, done) })
}

// deleteGroups deletes groups, but for those that something has failed for already.
func deleteGroups(c *Groups, names []string, failed map[string]wire.Code, done func(*wire.DeleteGroupsResponse)) {
	resp := &wire.DeleteGroupsResponse{Results: make([]wire.DeleteGroupsResponseDeletableGroupResult, len(names))}
	byShard := map[*groupShard][]int{}
	var order []*groupShard
	for i, id := range names {
		if resp.Results[i].ErrorCode = failed[id]; failed[id] != wire.None {
			resp.Results[i].GroupID = id
			continue
		}
		s := c.shardFor(id)
		if byShard[s] == nil {
			order = append(order, s)
		}
		byShard[s] = append(byShard[s], i)
		resp.Results[i].GroupID = id
	}
	all := newGather(len(order), func() { done(resp) })
	for _, s := range order {
		places := byShard[s]
		fail := func(code wire.Code) {
			for _, i := range places {
				resp.Results[i].ErrorCode = code
			}
		}
		ids := make([]string, len(places))
		for k, i := range places {
			ids[k] = resp.Results[i].GroupID
		}
		s.do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
			results := m.machine.DeleteGroups(ids, &m.fx)
			m.absorb(t)
			return func(t *turn, code wire.Code) {
				for k, i := range places {
					resp.Results[i] = results[k]
				}
				if code != wire.None {
					fail(code)
				}
				t.calls = append(t.calls, all.one)
			}
		}, func(code wire.Code) {
			fail(code)
			all.one()
		})
	}
	all.one()
}
