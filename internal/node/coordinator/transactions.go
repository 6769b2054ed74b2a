package coordinator

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/txn"
)

// TransactionTopic is the topic that holds the states of transactional ids.
const TransactionTopic = "__transaction_state"

const (
	// markerRetry is how soon markers that could not be written are tried again: at first, and twice as late each time up
	// to markerRetryMax.
	markerRetry    = 20 * time.Millisecond
	markerRetryMax = time.Second
	// patience is how long a request for a transactional id whose last transaction is being ended waits for that,
	// before it is told to come again.
	patience = time.Second
	// maxPatient bounds the requests that wait so for one transactional id.
	maxPatient = 64
)

// TransactionConfig configures Transactions. Start from DefaultTransactionConfig.
type TransactionConfig struct {
	txn.Config
	// Codec is what batches are compressed with; Kafka has no setting for it.
	Codec compress.Codec
	// WriteTimeoutMs is how long a request waits for its write.
	WriteTimeoutMs int64
	// Partitions is the number of partitions of __transaction_state: of the topic if it exists, else
	// transaction.state.log.num.partitions.
	Partitions int32
}

// DefaultTransactionConfig is Kafka's.
func DefaultTransactionConfig() TransactionConfig {
	return TransactionConfig{Config: txn.DefaultConfig(), Codec: compress.None, WriteTimeoutMs: 5_000, Partitions: 50}
}

// Surroundings are what Transactions needs of the broker.
type Surroundings struct {
	// ProducerID asks for a producer id that was never used; done may be called at once.
	ProducerID func(done func(id int64, code wire.Code))
	// WriteMarkers writes markers to their partitions, on behalf of the coordinator with the given leader epoch. done
	// is told the partitions where that is settled: written, or not needed because the partition is gone. The others
	// are tried again.
	WriteMarkers func(m *txn.Markers, coordinatorEpoch int32, done func(settled []txn.Partition))
}

type txnShard = shard[*txnMachine]

// Transactions is the transaction coordinator of this broker (KIP-98, KIP-890). It may be called from any goroutine.
// done functions are called exactly once, without a lock held, from within the call or later; they must not block.
// Requests belong to the caller again as soon as the call returns.
type Transactions struct {
	shardSet[*txnMachine]
	around  Surroundings
	version atomic.Int32 // of the feature transaction.version
	waiting atomic.Int64 // markers to be tried again
}

// NewTransactions makes a coordinator that leads nothing yet.
func NewTransactions(world clock.World, logger *slog.Logger, config TransactionConfig, around Surroundings) *Transactions {
	c := &Transactions{around: around}
	c.open(&options{
		world: world, logger: logger, topic: TransactionTopic, codec: config.Codec, commitMs: config.WriteTimeoutMs,
	}, config.Partitions, func(s *txnShard) *txnMachine {
		return &txnMachine{machine: txn.New(config.Config), c: c, shard: s, patient: map[string][]*patient{}}
	})
	return c
}

// SetVersion tells the finalized level of transaction.version.
func (c *Transactions) SetVersion(level int16) { c.version.Store(int32(level)) }

// Elect says that this broker leads a partition of __transaction_state in the given leader epoch.
func (c *Transactions) Elect(partition, epoch int32, log Log) { c.elect(partition, epoch, log) }

// decision is one request for a transactional id: decide answers CONCURRENT_TRANSACTIONS or NeedsProducerID when it
// cannot decide yet, and may be called again.
type decision struct {
	c      *Transactions
	id     string
	decide func(m *txn.Machine, now group.Time, fresh int64, fx *txn.Effects) wire.Code
	done   func(code wire.Code)
	again  func() // before it decides anew, having waited; may be nil
	waited bool
}

// run decides, and answers when what was written is committed. A request that meets a transaction which is about to end
// waits for that, so that the client need not ask again and again.
//
// Differs from Kafka: a request that meets a transaction which is about to end waits for that; Kafka answers
// CONCURRENT_TRANSACTIONS at once.
func (d *decision) run(fresh int64) {
	d.c.shardFor(d.id).do(func(m *txnMachine, t *turn) func(*turn, wire.Code) {
		m.level()
		code := d.decide(m.machine, t.now, fresh, &m.fx)
		wrote := len(m.fx.Writes) > 0
		m.absorb(t)
		switch {
		case code == txn.NeedsProducerID:
			t.calls = append(t.calls, d.fetch)
			return nil
		case code == wire.ConcurrentTransactions && !wrote && !d.waited && m.wait(d):
			return nil
		}
		return func(t *turn, failed wire.Code) {
			if failed != wire.None {
				code = failed
			}
			t.calls = append(t.calls, func() { d.done(code) })
		}
	}, d.done)
}

// resume decides anew after having waited. What the caller has found out before may not hold any more: markers have been
// written meanwhile.
func (d *decision) resume() {
	if d.again != nil {
		d.again()
	}
	d.run(-1)
}

// fetch gets a fresh producer id and decides again.
func (d *decision) fetch() {
	d.c.around.ProducerID(func(id int64, code wire.Code) {
		if code != wire.None {
			d.done(code)
			return
		}
		d.run(id)
	})
}

// patient is a decision that waits.
type patient struct {
	d     *decision
	timer clock.Timer
	gone  bool // it does not wait any more; guarded by the shard's lock
}

// wait lets a decision wait until its transactional id is free, if it can expect that.
func (m *txnMachine) wait(d *decision) bool {
	if len(m.patient[d.id]) >= maxPatient || !m.machine.Busy(d.id) {
		return false
	}
	p := &patient{d: d}
	m.patient[d.id] = append(m.patient[d.id], p)
	p.timer = m.c.opts.world.AfterFunc(patience, func() {
		m.shard.mu.Lock()
		late := !p.gone
		if late {
			p.gone = true
			m.leave(p)
		}
		m.shard.mu.Unlock()
		if late {
			d.waited = true
			d.resume()
		}
	})
	return true
}

// leave takes one away that has waited long enough. The caller holds the shard's lock.
func (m *txnMachine) leave(p *patient) {
	list := slices.DeleteFunc(m.patient[p.d.id], func(o *patient) bool { return o == p })
	if m.patient[p.d.id] = list; len(list) == 0 {
		delete(m.patient, p.d.id)
	}
}

// free lets those decide who have waited for transactional ids that are not busy any more, in the order in which they
// came, and behind who is answered in this turn: that one came before them.
func (m *txnMachine) free(t *turn) {
	for _, id := range slices.Sorted(maps.Keys(m.patient)) {
		if m.machine.Busy(id) {
			continue
		}
		for _, p := range m.patient[id] {
			p.gone = true
			p.timer.Stop()
			t.later = append(t.later, p.d.resume)
		}
		delete(m.patient, id)
	}
}

// txnMachine is the transaction machine as a shard runs it.
type txnMachine struct {
	machine *txn.Machine
	c       *Transactions
	shard   *txnShard
	fx      txn.Effects
	patient map[string][]*patient
}

// absorb moves the machine's effects into the turn.
func (m *txnMachine) absorb(t *turn) {
	t.writes = append(t.writes, m.fx.Writes...)
	term := m.shard.term
	for i := range m.fx.Markers {
		markers := m.fx.Markers[i]
		t.calls = append(t.calls, func() { m.c.mark(m.shard, &markers, term, markerRetry) })
	}
	for _, e := range m.fx.Events {
		t.calls = append(t.calls, func() {
			m.c.opts.logger.Info(e.What, "transactional.id", e.Group, "epoch", e.Generation, "partitions", e.Members, "reason", e.Reason)
		})
	}
	m.fx.Reset()
	if len(m.patient) > 0 {
		m.free(t)
	}
}

// mark writes markers until all are settled, or until somebody else is the coordinator. While it does, the partition is
// not loaded anew: a marker of a transaction that this load would find to be complete could end the producer's next one.
func (c *Transactions) mark(s *txnShard, markers *txn.Markers, term uint64, pause time.Duration) {
	s.mu.Lock()
	if s.term != term {
		s.mu.Unlock()
		return // who loads the partition next writes them
	}
	s.flying++
	epoch := s.epoch
	s.mu.Unlock()
	c.around.WriteMarkers(markers, epoch, func(settled []txn.Partition) { c.marked(s, markers, settled, term, pause) })
}

// marked takes note of the markers that are settled, and tries the others again.
func (c *Transactions) marked(s *txnShard, markers *txn.Markers, settled []txn.Partition, term uint64, pause time.Duration) {
	left := without(markers.Partitions, settled)
	s.mu.Lock()
	s.flying--
	if s.term != term {
		s.loadAgain()
		s.mu.Unlock()
		return
	}
	t := s.begin()
	s.machine.machine.MarkersWritten(t.now, markers.TransactionalID, txn.Producer{ID: markers.ProducerID, Epoch: markers.Epoch}, settled, &s.machine.fx)
	s.machine.absorb(t)
	s.end(t)
	if len(left) > 0 {
		rest := *markers
		rest.Partitions = left
		c.waiting.Add(int64(len(left)))
		c.opts.world.AfterFunc(pause, func() {
			c.waiting.Add(-int64(len(left)))
			c.mark(s, &rest, term, min(2*pause, markerRetryMax))
		})
	}
}

// without gives the partitions that are not among the settled ones.
func without(all, settled []txn.Partition) []txn.Partition {
	gone := make(map[txn.Partition]bool, len(settled))
	for _, p := range settled {
		gone[p] = true
	}
	var left []txn.Partition
	for _, p := range all {
		if !gone[p] {
			left = append(left, p)
		}
	}
	return left
}

func (m *txnMachine) replay(e *group.Entry) (bool, error) { return m.machine.Apply(e) }

// endTransaction does nothing: there are no transactions on this topic.
func (m *txnMachine) endTransaction(int64, bool, int64) {}

// level tells the machine the level of transaction.version, which changes while it runs.
func (m *txnMachine) level() { m.machine.SetVersion(int16(m.c.version.Load())) }

func (m *txnMachine) loaded(t *turn) {
	m.level()
	m.machine.Loaded(t.now, &m.fx)
	m.absorb(t)
}

func (m *txnMachine) expire(t *turn) {
	m.level()
	m.machine.Expire(t.now, &m.fx)
	m.absorb(t)
}

func (m *txnMachine) next() (int64, bool) { return m.machine.Next() }

func (m *txnMachine) settle(t *turn, id group.WriteID, _ int64, code wire.Code) {
	if code == wire.None {
		m.machine.Settle(t.now, id, &m.fx)
		m.absorb(t)
	}
}

// unload sends on those who wait.
func (m *txnMachine) unload(t *turn, code wire.Code) {
	for _, id := range slices.Sorted(maps.Keys(m.patient)) {
		for _, p := range m.patient[id] {
			p.gone = true
			p.timer.Stop()
			t.calls = append(t.calls, func() { p.d.done(code) })
		}
	}
	clear(m.patient)
}

// InitProducerID serves one InitProducerId request with a transactional id.
func (c *Transactions) InitProducerID(req *wire.InitProducerIdRequest, _ Client, version int16, done func(*wire.InitProducerIdResponse)) {
	in := txn.Init{
		TransactionalID: strings.Clone(*req.TransactionalID), TimeoutMs: req.TransactionTimeoutMs,
		Expected: txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
	}
	var got txn.Producer
	d := &decision{c: c, id: in.TransactionalID}
	d.decide = func(m *txn.Machine, now group.Time, fresh int64, fx *txn.Effects) (code wire.Code) {
		in.Fresh = fresh
		got, code = m.InitProducerID(now, &in, fx)
		return code
	}
	d.done = func(code wire.Code) {
		resp := &wire.InitProducerIdResponse{ErrorCode: fencedBefore(code, version, 4), ProducerID: -1, ProducerEpoch: -1}
		if code == wire.None {
			resp.ProducerID, resp.ProducerEpoch = got.ID, got.Epoch
		}
		done(resp)
	}
	d.run(-1)
}

// fencedBefore says PRODUCER_FENCED in the words of clients that do not know it yet.
func fencedBefore(code wire.Code, version, since int16) wire.Code {
	if code == wire.ProducerFenced && version < since {
		return wire.InvalidProducerEpoch
	}
	return code
}

// AddPartitions has partitions take part in a producer's transaction; done gets the code of all. A request may have to wait
// for the end of the producer's last transaction: then again, if any, is called before the decision, so that what the
// caller has announced to the partitions' logs is announced anew behind the markers of that.
func (c *Transactions) AddPartitions(id string, p txn.Producer, list []txn.Partition, again func(), done func(wire.Code)) {
	d := &decision{c: c, id: strings.Clone(id), done: done, again: again}
	d.decide = func(m *txn.Machine, now group.Time, _ int64, fx *txn.Effects) wire.Code {
		return m.AddPartitions(now, d.id, p, list, fx)
	}
	d.run(-1)
}

// VerifyPartitions asks whether partitions take part in a producer's transaction; done gets a code for each of them. As to
// again see AddPartitions.
func (c *Transactions) VerifyPartitions(id string, p txn.Producer, list []txn.Partition, again func(), done func([]wire.Code)) {
	var codes []wire.Code
	d := &decision{c: c, id: strings.Clone(id), again: again}
	d.decide = func(m *txn.Machine, _ group.Time, _ int64, _ *txn.Effects) (code wire.Code) {
		codes, code = m.VerifyPartitions(d.id, p, list)
		return code
	}
	d.done = func(code wire.Code) {
		if code != wire.None {
			codes = make([]wire.Code, len(list))
			for i := range codes {
				codes[i] = code
			}
		}
		done(codes)
	}
	d.run(-1)
}

// EndTxn serves one EndTxn request.
func (c *Transactions) EndTxn(req *wire.EndTxnRequest, _ Client, version int16, done func(*wire.EndTxnResponse)) {
	in := txn.End{
		TransactionalID: strings.Clone(req.TransactionalID), Producer: txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
		Commit: req.Committed,
	}
	if version >= 5 {
		in.Version = txn.VersionBump
	}
	var got txn.Producer
	d := &decision{c: c, id: in.TransactionalID}
	d.decide = func(m *txn.Machine, now group.Time, fresh int64, fx *txn.Effects) (code wire.Code) {
		in.Fresh = fresh
		got, code = m.EndTxn(now, &in, fx)
		return code
	}
	d.done = func(code wire.Code) {
		resp := &wire.EndTxnResponse{ErrorCode: fencedBefore(code, version, 2), ProducerID: -1, ProducerEpoch: -1}
		if code == wire.None && version >= 5 {
			resp.ProducerID, resp.ProducerEpoch = got.ID, got.Epoch
		}
		done(resp)
	}
	d.run(-1)
}

// DescribeTransactions serves one DescribeTransactions request, in the order of its ids.
func (c *Transactions) DescribeTransactions(req *wire.DescribeTransactionsRequest, _ Client, _ int16, done func(*wire.DescribeTransactionsResponse)) {
	resp := &wire.DescribeTransactionsResponse{TransactionStates: make([]wire.DescribeTransactionsResponseTransactionState, len(req.TransactionalIDs))}
	for i, id := range req.TransactionalIDs {
		out := &resp.TransactionStates[i]
		id = strings.Clone(id)
		c.shardFor(id).do(func(m *txnMachine, _ *turn) func(*turn, wire.Code) {
			*out = m.machine.Describe(id)
			return nil
		}, func(code wire.Code) { out.TransactionalID, out.ErrorCode = id, code })
	}
	done(resp)
}

// List lists the transactional ids of all partitions led here. While one of them loads there is no answer, since it
// would not be whole.
func (c *Transactions) List(f *txn.Filter) ([]wire.ListTransactionsResponseTransactionState, wire.Code) {
	var list []wire.ListTransactionsResponseTransactionState
	failed := wire.None
	for _, s := range *c.shards.Load() {
		s.do(func(m *txnMachine, t *turn) func(*turn, wire.Code) {
			list = append(list, m.machine.List(t.now, f)...)
			return nil
		}, func(code wire.Code) {
			if code != wire.NotCoordinator {
				failed = code
			}
		})
	}
	if failed != wire.None {
		return nil, failed
	}
	return list, wire.None
}
