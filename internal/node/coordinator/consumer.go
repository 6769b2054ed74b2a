package coordinator

import (
	"strings"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// ConsumerGroupHeartbeat serves one ConsumerGroupHeartbeat request.
func (c *Groups) ConsumerGroupHeartbeat(req *wire.ConsumerGroupHeartbeatRequest, client Client, version int16, done func(*wire.ConsumerGroupHeartbeatResponse)) {
	refused := func(code wire.Code) { done(&wire.ConsumerGroupHeartbeatResponse{ErrorCode: code}) }
	if c.image.Load() == nil {
		refused(wire.CoordinatorNotAvailable)
		return
	}
	h := group.ConsumerHeartbeat{Request: req, Version: version, Client: client}
	if req.MemberID == "" {
		h.Fresh = wire.UUID(clock.UUIDBits(c.opts.world))
	}
	var resp *wire.ConsumerGroupHeartbeatResponse
	answered := false
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		resp = m.machine.Consumers.Heartbeat(t.now, &h, &m.fx)
		if len(m.fx.Writes) == 0 {
			answered = true
			m.absorb(t)
			return nil
		}
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				resp = &wire.ConsumerGroupHeartbeatResponse{ErrorCode: code}
			}
			t.calls = append(t.calls, func() { done(resp) })
		}
	}, refused)
	if answered {
		done(resp)
	}
}

// ConsumerGroupDescribe serves one ConsumerGroupDescribe request, in the order of its groups. Authorized operations are
// left to the broker.
func (c *Groups) ConsumerGroupDescribe(req *wire.ConsumerGroupDescribeRequest, _ Client, _ int16, done func(*wire.ConsumerGroupDescribeResponse)) {
	resp := &wire.ConsumerGroupDescribeResponse{Groups: make([]wire.ConsumerGroupDescribeResponseDescribedGroup, len(req.GroupIDs))}
	for i, id := range req.GroupIDs {
		out := &resp.Groups[i]
		refused := func(code wire.Code) {
			out.SetDefaults()
			out.GroupID, out.ErrorCode = strings.Clone(id), code
		}
		if id == "" {
			refused(wire.InvalidGroupID)
			continue
		}
		c.shardFor(id).do(func(m *groupMachine, _ *turn) func(*turn, wire.Code) {
			*out = m.machine.Consumers.DescribeGroup(id)
			return nil
		}, refused)
	}
	done(resp)
}

// History gives the last events of a group, the oldest first: who joined, left or was removed and why, which topics
// changed. It begins with the time that this broker became the group's coordinator.
func (c *Groups) History(id string) (entries []group.HistoryEntry, code wire.Code) {
	c.shardFor(id).do(func(m *groupMachine, _ *turn) func(*turn, wire.Code) {
		entries, code = m.machine.History(id)
		return nil
	}, func(refusal wire.Code) { code = refusal })
	return entries, code
}
