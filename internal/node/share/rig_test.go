package share

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// keeper is a persister in memory.
type keeper struct {
	starts map[string]int64
	states map[string]map[int64]machine.StateBatch
	epochs map[string]int32
	// fail is what the next writes answer, readFail what the next reads do.
	fail, readFail []wire.Code
	// hold keeps answers back; held are they.
	hold   bool
	held   []func()
	writes []string
}

func keeperKey(group string, topic wire.UUID, index int32) string {
	return fmt.Sprintf("%s/%x/%d", group, topic[:2], index)
}

func (k *keeper) later(f func()) {
	if k.hold {
		k.held = append(k.held, f)
		return
	}
	f()
}

func (k *keeper) let() {
	held := k.held
	k.held = nil
	for _, f := range held {
		f()
	}
}

func take(codes *[]wire.Code) wire.Code {
	if len(*codes) == 0 {
		return wire.None
	}
	c := (*codes)[0]
	*codes = (*codes)[1:]
	return c
}

func (k *keeper) ReadShareGroupState(req *wire.ReadShareGroupStateRequest, _ group.Client, _ int16, done func(*wire.ReadShareGroupStateResponse)) {
	t := req.Topics[0]
	key := keeperKey(req.GroupID, t.TopicID, t.Partitions[0].Partition)
	out := wire.ReadShareGroupStateResponsePartitionResult{Partition: t.Partitions[0].Partition, StartOffset: -1, ErrorCode: take(&k.readFail), StateEpoch: k.epochs[key]}
	if start, ok := k.starts[key]; ok {
		out.StartOffset = start
		for o := start; o < start+1000; o++ {
			if s, ok := k.states[key][o]; ok {
				if n := len(out.StateBatches); n > 0 && out.StateBatches[n-1].LastOffset == o-1 && out.StateBatches[n-1].DeliveryState == int8(s.State) &&
					out.StateBatches[n-1].DeliveryCount == s.Deliveries {
					out.StateBatches[n-1].LastOffset = o
					continue
				}
				out.StateBatches = append(out.StateBatches, wire.ReadShareGroupStateResponseStateBatch{FirstOffset: o, LastOffset: o, DeliveryState: int8(s.State), DeliveryCount: s.Deliveries})
			}
		}
	}
	resp := &wire.ReadShareGroupStateResponse{Results: []wire.ReadShareGroupStateResponseReadStateResult{{
		TopicID: t.TopicID, Partitions: []wire.ReadShareGroupStateResponsePartitionResult{out},
	}}}
	k.later(func() { done(resp) })
}

func (k *keeper) WriteShareGroupState(req *wire.WriteShareGroupStateRequest, _ group.Client, _ int16, done func(*wire.WriteShareGroupStateResponse)) {
	t := req.Topics[0]
	p := t.Partitions[0]
	key := keeperKey(req.GroupID, t.TopicID, p.Partition)
	var b strings.Builder
	fmt.Fprintf(&b, "%d: start %d done %d", p.Partition, p.StartOffset, p.DeliveryCompleteCount)
	for _, s := range p.StateBatches {
		fmt.Fprintf(&b, " %d-%d:%s:%d", s.FirstOffset, s.LastOffset, machine.State(s.DeliveryState), s.DeliveryCount)
	}
	k.writes = append(k.writes, b.String())
	code := take(&k.fail)
	if code == wire.None && p.StateEpoch < k.epochs[key] {
		code = wire.FencedStateEpoch
	}
	if code == wire.None {
		k.starts[key] = p.StartOffset
		if k.states[key] == nil {
			k.states[key] = map[int64]machine.StateBatch{}
		}
		for _, s := range p.StateBatches {
			for o := s.FirstOffset; o <= s.LastOffset; o++ {
				k.states[key][o] = machine.StateBatch{State: machine.State(s.DeliveryState), Deliveries: s.DeliveryCount}
			}
		}
	}
	out := &wire.WriteShareGroupStateResponse{Results: []wire.WriteShareGroupStateResponseWriteStateResult{{
		TopicID: t.TopicID, Partitions: []wire.WriteShareGroupStateResponsePartitionResult{{Partition: p.Partition, ErrorCode: code}},
	}}}
	k.later(func() { done(out) })
}

func (k *keeper) wrote() string {
	out := strings.Join(k.writes, "; ")
	k.writes = nil
	return out
}

// rig is a Delivery over logs on a simulated disk.
type rig struct {
	t        *testing.T
	hand     *clock.Hand
	keeper   *keeper
	table    *partition.Table
	d        *Delivery
	img      *metadata.Image
	settings Settings
	conns    map[string]*edge.DirectConn
	topic    wire.UUID
}

type nobody struct{}

func (nobody) Serve(*edge.Request) {}

func newRig(t *testing.T, partitions int) *rig {
	t.Helper()
	r := &rig{t: t, hand: clock.NewHand(1), conns: map[string]*edge.DirectConn{}, topic: wire.UUID{7, 7}}
	r.keeper = &keeper{starts: map[string]int64{}, states: map[string]map[int64]machine.StateBatch{}, epochs: map[string]int32{}}
	r.settings = Settings{Limits: machine.Limits{MaxInFlight: 100, MaxDeliveries: 5, LockMs: 30_000, Renew: true}, Reset: ResetEarliest}
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
	logger := slog.New(slog.DiscardHandler)
	store, err := commitlog.Open(commitlog.StoreOptions{
		FS: disk.Mount(), Dir: "/data", World: r.hand, Logger: logger, JournalFileBytes: 1 << 20, TailBytes: 1 << 20, RecoveryThreads: 1,
		RetentionCheckMs: 1 << 40, OffsetCheckpointMs: 1 << 40,
		Config: func(string, int32) commitlog.LogConfig {
			return commitlog.LogConfig{RetentionBytes: -1, RetentionMs: -1}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.NewBroker(config.Values{"node.id": "1", "process.roles": "broker", "log.dirs": "/data", "controller.listener.names": "C", "controller.quorum.bootstrap.servers": "localhost:9093"})
	if err != nil {
		t.Fatal(err)
	}
	r.table = partition.NewTable(partition.Options{
		NodeID: 1, Stores: []*commitlog.Store{store}, Broker: func() *config.BrokerConfig { return cfg }, Logger: logger, World: r.hand,
	})
	r.edit(func(add func(wire.MetadataRecord)) {
		add(&wire.TopicRecord{Name: "t", TopicID: r.topic})
		for i := range partitions {
			add(&wire.PartitionRecord{TopicID: r.topic, PartitionID: int32(i), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []wire.UUID{{}}})
		}
	})
	if err := r.table.Load(r.img); err != nil {
		t.Fatal(err)
	}
	r.d = New(Options{
		NodeID: 1, World: r.hand, Logger: logger, Table: r.table, Persister: r.keeper, MaxSessions: 3,
		Settings: func(*metadata.Image, string) Settings { return r.settings },
	})
	r.d.SetImage(r.img, true)
	return r
}

// edit makes the next image.
func (r *rig) edit(f func(add func(wire.MetadataRecord))) *metadata.Delta {
	if r.img == nil {
		r.img = metadata.Empty()
	}
	d := r.img.Edit()
	f(func(m wire.MetadataRecord) {
		if err := d.Apply(m); err != nil {
			r.t.Fatal(err)
		}
	})
	img, err := d.Finish(r.img.Offset()+1, 1)
	if err != nil {
		r.t.Fatal(err)
	}
	r.img = img
	return d
}

// run runs what is due at once.
func (r *rig) run() {
	for r.hand.RunOne() {
	}
}

func (r *rig) advance(d time.Duration) {
	end := r.hand.Mono() + d
	for {
		r.run()
		next, ok := r.hand.Next()
		if !ok || r.hand.Mono()+next > end {
			r.hand.Advance(end - r.hand.Mono())
			r.run()
			return
		}
		r.hand.Advance(next)
	}
}

// produce appends one batch of n records.
func (r *rig) produce(index int32, n int) {
	r.t.Helper()
	w := record.NewBuilder(nil, record.Options{})
	for i := range n {
		w.Append(int64(i), nil, []byte("value"))
	}
	b, err := w.Finish()
	r.add(index, b, err, commitlog.Client)
}

// end is where the first partition's log ends.
func (r *rig) end() int64 { return r.table.ByID(r.topic).Partition(0).Log().End() }

// add appends a batch.
func (r *rig) add(index int32, b record.Batch, err error, origin commitlog.Origin) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	done := false
	r.table.ByID(r.topic).Partition(index).Log().Append(&commitlog.Append{Records: b, Origin: origin, Done: func(a *commitlog.Append) {
		if done = true; a.Err != nil {
			r.t.Fatal(a.Err)
		}
	}})
	r.run()
	if !done {
		r.t.Fatal("the append did not end")
	}
}

func (r *rig) conn(member string) *edge.Conn {
	if r.conns[member] == nil {
		r.conns[member] = edge.NewDirect(nobody{}, "PLAINTEXT")
	}
	return r.conns[member].Conn()
}

// ask is a fetch under construction.
type ask struct {
	*Fetch
	r    *rig
	done bool
	// cancel ends the waiting.
	cancel func()
}

// fetch asks for partitions in an epoch.
func (r *rig) fetch(member string, epoch int32, parts ...int32) *ask {
	f := &Fetch{Group: "g", Member: member, Epoch: epoch, MaxWaitMs: 500, MinBytes: 1, MaxBytes: 1 << 20, MaxRecords: 500, BatchSize: 500, Supports: machine.Renew, Conn: r.conn(member)}
	if len(parts) > 0 {
		t := wire.ShareFetchRequestFetchTopic{TopicID: r.topic}
		for _, p := range parts {
			t.Partitions = append(t.Partitions, wire.ShareFetchRequestFetchPartition{PartitionIndex: p})
		}
		f.Topics = []wire.ShareFetchRequestFetchTopic{t}
	}
	a := &ask{Fetch: f, r: r}
	f.Done = func(*Fetch) { a.done = true }
	f.OnPark = func(cancel func()) { a.cancel = cancel }
	return a
}

// ack adds an acknowledgement to a fetch.
func (a *ask) ack(index int32, first, last int64, types ...int8) *ask {
	if len(a.Topics) == 0 {
		a.Topics = []wire.ShareFetchRequestFetchTopic{{TopicID: a.r.topic}}
	}
	t := &a.Topics[0]
	b := wire.ShareFetchRequestAcknowledgementBatch{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}
	for i := range t.Partitions {
		if t.Partitions[i].PartitionIndex == index {
			t.Partitions[i].AcknowledgementBatches = append(t.Partitions[i].AcknowledgementBatches, b)
			return a
		}
	}
	t.Partitions = append(t.Partitions, wire.ShareFetchRequestFetchPartition{PartitionIndex: index, AcknowledgementBatches: []wire.ShareFetchRequestAcknowledgementBatch{b}})
	return a
}

// send sends the fetch and tells its answer, or that it waits.
func (a *ask) send() string {
	a.r.d.Fetch(a.Fetch)
	a.r.run()
	return a.answer()
}

func (a *ask) answer() string {
	if !a.done {
		return "waits"
	}
	if a.Code != wire.None {
		return name(a.Code)
	}
	var b strings.Builder
	for i := range a.Results {
		p := &a.Results[i]
		if i > 0 {
			b.WriteString(" ")
		}
		fmt.Fprintf(&b, "[%d", p.Index)
		if p.Code != wire.None {
			fmt.Fprintf(&b, " %s", name(p.Code))
		}
		if p.AckCode != wire.None {
			fmt.Fprintf(&b, " ack %s", name(p.AckCode))
		}
		for _, d := range p.Acquired {
			fmt.Fprintf(&b, " %d-%d x%d", d.First, d.Last, d.Count)
		}
		if p.View.Len > 0 {
			all, err := p.View.Bytes(nil)
			if err != nil {
				a.r.t.Fatal(err)
			}
			n := 0
			for at := 0; at < len(all); n++ {
				e, err := record.PeekHeader(all[at:])
				if err != nil || at+e.Size > len(all) {
					a.r.t.Fatalf("the records do not end with a whole batch: %v", err)
				}
				at += e.Size
			}
			fmt.Fprintf(&b, " in %d", n)
			p.View.Release()
		}
		b.WriteString("]")
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

// acknowledge sends a ShareAcknowledge.
func (r *rig) acknowledge(member string, epoch int32, index int32, first, last int64, types ...int8) string {
	a := &Acknowledge{Group: "g", Member: member, Epoch: epoch, Supports: machine.Renew, Renewing: true}
	if len(types) > 0 {
		a.Topics = []wire.ShareAcknowledgeRequestAcknowledgeTopic{{TopicID: r.topic, Partitions: []wire.ShareAcknowledgeRequestAcknowledgePartition{{
			PartitionIndex: index, AcknowledgementBatches: []wire.ShareAcknowledgeRequestAcknowledgementBatch{{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}},
		}}}}
	}
	done := false
	a.Done = func(*Acknowledge) { done = true }
	r.d.Acknowledge(a)
	r.run()
	switch {
	case !done:
		return "waits"
	case a.Code != wire.None:
		return name(a.Code)
	case len(a.Results) == 1 && a.Results[0].Code != wire.None:
		return name(a.Results[0].Code)
	}
	return "ok"
}

// name is an error's name alone.
func name(c wire.Code) string {
	text, _, _ := strings.Cut(c.Error(), ":")
	return text
}

func (r *rig) want(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
