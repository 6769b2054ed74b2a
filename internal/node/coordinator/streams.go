package coordinator

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/streams"
)

// attachStreams gives a machine its streams groups. settings resolves those of a group against an image, which is nil
// before the first one; without it groups have Kafka's defaults.
func (m *groupMachine) attachStreams(settings func(img *metadata.Image, group string) streams.Settings) {
	m.streams = streams.New(m.machine, func(id string) streams.Settings {
		if settings == nil {
			return streams.DefaultSettings()
		}
		return settings(m.groups.image.Load(), id)
	})
	m.machine.Attach(m.streams)
}

// StreamsGroupHeartbeat serves one StreamsGroupHeartbeat request (KIP-1071). done gets the answer and the internal
// topics that the group waits for, which the caller has created.
func (c *Groups) StreamsGroupHeartbeat(req *wire.StreamsGroupHeartbeatRequest, client Client, version int16, done func(streams.Answer)) {
	refused := func(code wire.Code) { done(streams.Refuse(code, "")) }
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		answer := m.streams.Heartbeat(t.now, req, version, client, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				answer = streams.Refuse(code, "")
			}
			t.calls = append(t.calls, func() { done(answer) })
		}
	}, refused)
}

// StreamsGroupDescribe serves one StreamsGroupDescribe request.
func (c *Groups) StreamsGroupDescribe(req *wire.StreamsGroupDescribeRequest, _ Client, _ int16, done func(*wire.StreamsGroupDescribeResponse)) {
	resp := &wire.StreamsGroupDescribeResponse{Groups: make([]wire.StreamsGroupDescribeResponseDescribedGroup, len(req.GroupIDs))}
	c.describeEach(req.GroupIDs, func(m *groupMachine, i int, id string) {
		resp.Groups[i] = m.streams.Describe(id)
	}, func(i int, id string, code wire.Code) {
		out := &resp.Groups[i]
		out.SetDefaults()
		out.GroupID, out.ErrorCode = id, code
	}, func() { done(resp) })
}
