package coordinator

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/share"
	"github.com/moldau/moldau/internal/machine/streams"
)

// OffsetsTopic is the topic that holds groups and their offsets.
const OffsetsTopic = "__consumer_offsets"

// GroupConfig configures Groups. Start from DefaultGroupConfig.
type GroupConfig struct {
	group.Config
	// Codec is offsets.topic.compression.codec.
	Codec compress.Codec
	// CommitTimeoutMs is offsets.commit.timeout.ms.
	CommitTimeoutMs int64
	// Partitions is the number of partitions of __consumer_offsets: of the topic if it exists, else
	// offsets.topic.num.partitions. All brokers must agree on it, for it decides where a group lives.
	Partitions int32
	// ConsumerSettings are those of one consumer group as the image has them; nil stands for Kafka's defaults.
	ConsumerSettings func(img *metadata.Image, id string) group.ConsumerSettings
	// Streams gives a streams group's settings as of an image; nil stands for Kafka's defaults.
	Streams func(img *metadata.Image, group string) streams.Settings
}

// DefaultGroupConfig is Kafka's.
func DefaultGroupConfig() GroupConfig {
	return GroupConfig{Config: group.DefaultConfig(), Codec: compress.None, CommitTimeoutMs: 5_000, Partitions: 50}
}

// Client is who sent a request. Host is written as Kafka does: "/" and the address.
type Client = group.Client

type groupShard = shard[*groupMachine]

// Groups is the group coordinator of this broker. It may be called from any goroutine. done functions are called
// exactly once, without a lock held, from within the call or later; they must not block. Requests belong to the
// caller again as soon as the call returns.
type Groups struct {
	shardSet[*groupMachine]
	config group.Config
	image  atomic.Pointer[metadata.Image]
	// shareParts never changes once partitions are led.
	shareParts ShareParts
	// streamsSettings are GroupConfig.Streams.
	streamsSettings func(img *metadata.Image, group string) streams.Settings
	// members is how many members of consumer groups there are in all partitions.
	members atomic.Int64
}

// NewGroups makes a coordinator that leads nothing yet.
func NewGroups(world clock.World, logger *slog.Logger, config GroupConfig) *Groups {
	c := &Groups{streamsSettings: config.Streams}
	c.config = config.Config
	c.config.Consumer.Members = c.members.Load
	if settings := config.ConsumerSettings; settings != nil {
		c.config.Consumer.Settings = func(id string) group.ConsumerSettings { return settings(c.image.Load(), id) }
	}
	c.open(&options{
		world: world, logger: logger, topic: OffsetsTopic, codec: config.Codec, commitMs: config.CommitTimeoutMs,
	}, config.Partitions, func(*groupShard) *groupMachine { return newGroupMachine(c) })
	return c
}

// PartitionFor is where Kafka puts a key among n partitions of a coordinator's topic: the absolute value of Java's
// string hash, modulo n.
func PartitionFor(key string, n int32) int32 {
	var h int32
	for _, r := range key {
		if r >= 1<<16 {
			hi, lo := utf16.EncodeRune(r)
			h = 31*(31*h+hi) + lo
			continue
		}
		h = 31*h + r
	}
	if h == -1<<31 {
		h = 0 // as Kafka's Utils.abs has it
	}
	return max(h, -h) % n
}

// SetImage tells all partitions led here that topics or settings have changed. It must not be called at the same time as
// itself.
func (c *Groups) SetImage(img *metadata.Image) {
	c.image.Store(img)
	for _, s := range *c.shards.Load() {
		s.do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
			m.machine.SetImage(t.now, img, &m.fx)
			m.absorb(t)
			return nil
		}, func(wire.Code) {})
	}
}

// Elect says that this broker leads a partition of __consumer_offsets in the given leader epoch.
func (c *Groups) Elect(partition, epoch int32, log Log) { c.elect(partition, epoch, log) }

// JoinGroup serves one JoinGroup request.
func (c *Groups) JoinGroup(req *wire.JoinGroupRequest, client Client, version int16, done func(*wire.JoinGroupResponse)) {
	answer := func(r *wire.JoinGroupResponse) {
		if version < 7 && r.ProtocolName == nil {
			r.ProtocolName = new(string) // it cannot be null before version 7
		}
		done(r)
	}
	refused := func(code wire.Code) {
		answer(&wire.JoinGroupResponse{ErrorCode: code, GenerationID: -1, MemberID: strings.Clone(req.MemberID)})
	}
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	fresh := wire.UUID(clock.UUIDBits(c.opts.world))
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		j := group.Join{Request: req, Version: version, Client: client, Ticket: m.parkJoin(answer), Fresh: fresh}
		m.machine.JoinGroup(t.now, &j, &m.fx)
		if len(m.fx.Late) == 0 {
			m.absorb(t)
			return nil
		}
		delete(m.joins, j.Ticket)
		resp := m.fx.Late[0].Response
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				resp = &wire.JoinGroupResponse{ErrorCode: code, GenerationID: -1, MemberID: resp.MemberID}
			}
			t.calls = append(t.calls, func() { answer(resp) })
		}
	}, refused)
}

// SyncGroup serves one SyncGroup request.
func (c *Groups) SyncGroup(req *wire.SyncGroupRequest, _ Client, version int16, done func(*wire.SyncGroupResponse)) {
	refused := func(code wire.Code) { done(&wire.SyncGroupResponse{ErrorCode: code}) }
	if version >= 5 && (req.ProtocolType == nil || req.ProtocolName == nil) {
		refused(wire.InconsistentGroupProtocol) // what can be told must be told (KIP-559)
		return
	}
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		m.machine.SyncGroup(t.now, req, m.parkSync(done), &m.fx)
		m.absorb(t)
		return nil
	}, refused)
}

// Heartbeat serves one Heartbeat request.
func (c *Groups) Heartbeat(req *wire.HeartbeatRequest, _ Client, _ int16, done func(*wire.HeartbeatResponse)) {
	if req.GroupID == "" {
		done(&wire.HeartbeatResponse{ErrorCode: wire.InvalidGroupID})
		return
	}
	var code wire.Code
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		code = m.machine.Heartbeat(t.now, req)
		return nil
	}, func(refusal wire.Code) {
		// While the group is loading its members need not worry: their sessions begin anew afterwards.
		if code = refusal; code == wire.CoordinatorLoadInProgress {
			code = wire.None
		}
	})
	done(&wire.HeartbeatResponse{ErrorCode: code})
}

// LeaveGroup serves one LeaveGroup request.
func (c *Groups) LeaveGroup(req *wire.LeaveGroupRequest, _ Client, version int16, done func(*wire.LeaveGroupResponse)) {
	if version < 3 {
		// One member, whose error is the request's.
		req = &wire.LeaveGroupRequest{GroupID: req.GroupID, Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: req.MemberID}}}
		whole := done
		done = func(r *wire.LeaveGroupResponse) {
			if r.ErrorCode == wire.None && len(r.Members) == 1 {
				r.ErrorCode = r.Members[0].ErrorCode
			}
			r.Members = nil
			whole(r)
		}
	}
	refused := func(code wire.Code) { done(&wire.LeaveGroupResponse{ErrorCode: code}) }
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		resp := m.machine.LeaveGroup(t.now, req, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				resp = &wire.LeaveGroupResponse{ErrorCode: code}
			}
			t.calls = append(t.calls, func() { done(resp) })
		}
	}, refused)
}

// groupMachine is the group machine as a shard runs it: it keeps who waits for a ticket's answer.
type groupMachine struct {
	machine    *group.Machine
	streams    *streams.Groups
	share      *share.Groups
	groups     *Groups
	members    int64 // of consumer groups, as the node's count knows
	logger     *slog.Logger
	fx         group.Effects
	lastTicket group.Ticket
	joins      map[group.Ticket]func(*wire.JoinGroupResponse)
	syncs      map[group.Ticket]func(*wire.SyncGroupResponse)
}

func newGroupMachine(c *Groups) *groupMachine {
	m := &groupMachine{
		machine: group.New(c.config), groups: c, logger: c.opts.logger,
		joins: map[group.Ticket]func(*wire.JoinGroupResponse){}, syncs: map[group.Ticket]func(*wire.SyncGroupResponse){},
	}
	m.attachStreams(c.streamsSettings)
	m.attachShare()
	return m
}

func (m *groupMachine) parkJoin(done func(*wire.JoinGroupResponse)) group.Ticket {
	m.lastTicket++
	m.joins[m.lastTicket] = done
	return m.lastTicket
}

func (m *groupMachine) parkSync(done func(*wire.SyncGroupResponse)) group.Ticket {
	m.lastTicket++
	m.syncs[m.lastTicket] = done
	return m.lastTicket
}

// absorb moves the machine's effects into the turn.
func (m *groupMachine) absorb(t *turn) {
	t.writes = append(t.writes, m.fx.Writes...)
	for _, r := range m.fx.Joins {
		done := m.joins[r.Ticket]
		delete(m.joins, r.Ticket)
		t.calls = append(t.calls, func() { done(r.Response) })
	}
	for _, r := range m.fx.Syncs {
		done := m.syncs[r.Ticket]
		delete(m.syncs, r.Ticket)
		t.calls = append(t.calls, func() { done(r.Response) })
	}
	if len(m.fx.Events) > 0 {
		m.machine.Remember(t.now, m.fx.Events)
	}
	if n := m.machine.Consumers.Members(); n != m.members {
		m.groups.members.Add(n - m.members)
		m.members = n
	}
	if len(m.fx.Events) > 0 && m.logger.Enabled(context.Background(), slog.LevelInfo) {
		for _, e := range m.fx.Events {
			t.calls = append(t.calls, func() {
				m.logger.Info(e.What, "group", e.Group, "generation", e.Generation, "members", e.Members, "reason", e.Reason)
			})
		}
	}
	m.fx.Reset()
}

func (m *groupMachine) replay(e *group.Entry) (bool, error) { return m.machine.Apply(e) }

func (m *groupMachine) endTransaction(producerID int64, commit bool, at int64) {
	m.machine.EndTransaction(producerID, commit, at)
}

func (m *groupMachine) loaded(t *turn) {
	if img := m.groups.image.Load(); img != nil {
		m.machine.SetImage(t.now, img, &m.fx)
	}
	m.machine.Loaded(t.now, &m.fx)
	m.absorb(t)
}

func (m *groupMachine) expire(t *turn) {
	m.machine.Expire(t.now, &m.fx)
	m.absorb(t)
}

func (m *groupMachine) next() (int64, bool) { return m.machine.Next() }

func (m *groupMachine) settle(t *turn, id group.WriteID, base int64, code wire.Code) {
	m.machine.Settle(t.now, id, base, code, &m.fx)
	m.absorb(t)
}

func (m *groupMachine) unload(t *turn, code wire.Code) {
	m.machine.Unload(code, &m.fx)
	m.absorb(t)
	m.groups.members.Add(-m.members)
	m.members = 0
}
