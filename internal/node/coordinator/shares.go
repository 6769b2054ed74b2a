package coordinator

import (
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/share"
)

// ShareTopic is the topic that holds the delivery state of share groups.
const ShareTopic = "__share_group_state"

// ShareConfig configures Shares. Start from DefaultShareConfig.
type ShareConfig struct {
	share.StateConfig
	// Codec is share.coordinator.state.topic.compression.codec.
	Codec compress.Codec
	// WriteTimeoutMs is share.coordinator.write.timeout.ms.
	WriteTimeoutMs int64
	// Partitions is the number of partitions of __share_group_state: of the topic if it exists, else
	// share.coordinator.state.topic.num.partitions.
	Partitions int32
}

// DefaultShareConfig is Kafka's.
func DefaultShareConfig() ShareConfig {
	return ShareConfig{StateConfig: share.DefaultStateConfig(), Codec: compress.None, WriteTimeoutMs: 5_000, Partitions: 50}
}

// ShareLog is one partition of __share_group_state that this broker leads.
type ShareLog interface {
	Log
	// DeleteBefore makes the log forget what is before an offset. It may take its time.
	DeleteBefore(offset int64) error
}

type shareShard = shard[*shareMachine]

// Shares is the share coordinator of this broker (KIP-932). It may be called from any goroutine. done functions are
// called exactly once, without a lock held, from within the call or later; they must not block. Requests belong to the
// caller again as soon as the call returns.
type Shares struct {
	shardSet[*shareMachine]
	image atomic.Pointer[metadata.Image]
}

// NewShares makes a coordinator that leads nothing yet.
func NewShares(world clock.World, logger *slog.Logger, config ShareConfig) *Shares {
	c := &Shares{}
	c.image.Store(metadata.Empty())
	c.open(&options{
		world: world, logger: logger, topic: ShareTopic, codec: config.Codec, commitMs: config.WriteTimeoutMs,
	}, config.Partitions, func(s *shareShard) *shareMachine {
		return &shareMachine{state: share.NewState(config.StateConfig), shares: c, shard: s}
	})
	return c
}

// SharePartitionFor is the partition of __share_group_state, of n, that holds a share partition's state. Its
// coordinator key is "group:topic:partition".
func SharePartitionFor(groupID string, topic wire.UUID, partition, n int32) int32 {
	var buf [48]byte
	tail := append(buf[:0], ':')
	tail = append(tail, topic.String()...)
	tail = append(tail, ':')
	tail = strconv.AppendInt(tail, int64(partition), 10)
	h := int32(0)
	for _, r := range groupID {
		if r >= 1<<16 {
			hi, lo := utf16.EncodeRune(r)
			h = 31*(31*h+hi) + lo
			continue
		}
		h = 31*h + r
	}
	for _, b := range tail {
		h = 31*h + int32(b)
	}
	if h == -1<<31 {
		h = 0 // as Kafka's Utils.abs has it
	}
	return max(h, -h) % n
}

// PartitionFor is the partition of __share_group_state that holds a share partition's state: FindCoordinator's
// answer is its leader.
func (c *Shares) PartitionFor(groupID string, topic wire.UUID, partition int32) int32 {
	return SharePartitionFor(groupID, topic, partition, int32(len(*c.shards.Load())))
}

// Elect says that this broker leads a partition of __share_group_state in the given leader epoch.
func (c *Shares) Elect(partition, epoch int32, log ShareLog) { c.elect(partition, epoch, log) }

// SetImage tells which topics there are.
func (c *Shares) SetImage(img *metadata.Image) { c.image.Store(img) }

// DeleteTopic takes away the states of a topic that is no more.
func (c *Shares) DeleteTopic(id wire.UUID) {
	for _, s := range *c.shards.Load() {
		s.do(func(m *shareMachine, t *turn) func(*turn, wire.Code) {
			m.state.DeleteTopic(id, &m.fx)
			m.absorb(t)
			return nil
		}, func(wire.Code) {})
	}
}

// shareMachine is the state machine as a shard runs it.
type shareMachine struct {
	state  *share.State
	shares *Shares
	shard  *shareShard
	fx     share.StateEffects
}

// absorb moves the machine's effects into the turn.
func (m *shareMachine) absorb(t *turn) {
	m.state.Submit(&m.fx)
	if len(m.fx.Write.Records) > 0 {
		t.writes = append(t.writes, m.fx.Write)
	}
	if at := m.fx.Prune; at > 0 {
		t.calls = append(t.calls, func() { m.shares.prune(m.shard, at) })
	}
	m.fx = share.StateEffects{}
}

// prune deletes what nobody needs from the beginning of a partition, in the background.
func (c *Shares) prune(s *shareShard, before int64) {
	s.mu.Lock()
	log, ok := s.log.(ShareLog)
	s.mu.Unlock()
	if !ok {
		return // not the leader any more
	}
	c.opts.world.Go("prune "+c.opts.topic, func() {
		if err := log.DeleteBefore(before); err != nil {
			c.opts.logger.Warn("the beginning of a coordinator's partition could not be deleted; it is tried again later",
				"topic", c.opts.topic, "partition", s.partition, "offset", before, "error", err)
		}
	})
}

func (m *shareMachine) replay(e *group.Entry) (bool, error) { return m.state.Apply(e) }

// endTransaction does nothing: there are no transactions on this topic.
func (m *shareMachine) endTransaction(int64, bool, int64) {}

func (m *shareMachine) loaded(t *turn) {
	m.state.SetImage(m.shares.image.Load())
	m.state.Loaded(t.now, &m.fx)
	m.absorb(t)
}

func (m *shareMachine) expire(t *turn) {
	m.state.Expire(t.now, &m.fx)
	m.absorb(t)
}

func (m *shareMachine) next() (int64, bool) { return m.state.Next() }

func (m *shareMachine) settle(_ *turn, id group.WriteID, base int64, code wire.Code) {
	if code == wire.None {
		m.state.Settle(id, base)
	}
}

func (m *shareMachine) unload(*turn, wire.Code) {}

// inOrder runs op on the machine, and then, under the lock, when all writes up to here are settled, those before op
// too: so nobody is told of a state that may be rolled back. refused is called instead if the shard does not serve.
func (s *shard[M]) inOrder(op func(m M, t *turn), then func(t *turn, code wire.Code), refused func(wire.Code)) {
	s.mu.Lock()
	if code := s.refusal(); code != wire.None {
		s.mu.Unlock()
		refused(code)
		return
	}
	t := s.begin()
	op(s.machine, t)
	w := &waiter{then: then}
	if len(t.writes) > 0 {
		s.enqueue(t, w)
	} else {
		w.left = 1
		s.pendings = append(s.pendings, &pending{settled: true, deadline: t.now.Mono + s.opts.commitMs, waiter: w})
		s.settleHead(t)
	}
	s.end(t)
}

// place is where a share partition stands in a request.
type place struct {
	shard            int32
	topic, partition int
}

// sharded asks each shard for its places of a request: op decides one place, fail answers for one that cannot be
// decided or written, and done is called when all have their answers.
func (c *Shares) sharded(places []place, op func(m *shareMachine, now group.Time, at place), fail func(at place, code wire.Code), done func()) {
	slices.SortStableFunc(places, func(a, b place) int { return int(a.shard - b.shard) })
	shards := *c.shards.Load()
	var runs [][]place
	for from := 0; from < len(places); {
		to := from + 1
		for to < len(places) && places[to].shard == places[from].shard {
			to++
		}
		runs = append(runs, places[from:to])
		from = to
	}
	all := newGather(len(runs), done)
	for _, run := range runs {
		failed := func(code wire.Code) {
			for _, at := range run {
				fail(at, code)
			}
		}
		shards[run[0].shard].inOrder(func(m *shareMachine, t *turn) {
			m.state.SetImage(m.shares.image.Load())
			for _, at := range run {
				op(m, t.now, at)
			}
			m.absorb(t)
		}, func(t *turn, code wire.Code) {
			if code != wire.None {
				failed(code)
			}
			t.calls = append(t.calls, all.one)
		}, func(code wire.Code) {
			failed(code)
			all.one()
		})
	}
	all.one()
}

// unable is the text of an answer for a share partition whose coordinator could not do what was asked.
func unable(what string, code wire.Code) *string {
	text := "Unable to " + what + " share group state: " + share.Text(code)
	return &text
}
