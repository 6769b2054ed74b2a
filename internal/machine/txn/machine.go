package txn

import (
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// Config is what an administrator may set. Times are in milliseconds.
type Config struct {
	// MaxTimeoutMs is transaction.max.timeout.ms.
	MaxTimeoutMs int32
	// AbortCheckMs is transaction.abort.timed.out.transaction.cleanup.interval.ms.
	AbortCheckMs int64
	// ExpirationMs is transactional.id.expiration.ms.
	ExpirationMs int64
	// ExpirationCheckMs is transaction.remove.expired.transaction.cleanup.interval.ms.
	ExpirationCheckMs int64
}

// DefaultConfig is Kafka's.
func DefaultConfig() Config {
	return Config{MaxTimeoutMs: 900_000, AbortCheckMs: 10_000, ExpirationMs: 7 * 24 * 3_600_000, ExpirationCheckMs: 3_600_000}
}

// Time is now: see group.Time.
type Time = group.Time

// Versions of the feature transaction.version: what the record format may hold and what a client can do.
const (
	// VersionFlexible is from where on records are written with tagged fields.
	VersionFlexible = 1
	// VersionBump is from where on each transaction has an epoch of its own (KIP-890).
	VersionBump = 2
)

const (
	noProducer = -1
	noEpoch    = -1
	// lastEpoch is the last one that a client gets; the one behind it fences it.
	lastEpoch = 1<<15 - 2
)

// Partition is a partition of a topic.
type Partition struct {
	Topic string
	Index int32
}

func comparePartitions(a, b Partition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Index) - int(b.Index)
}

// Markers are those that end one transaction. The shell writes them and tells MarkersWritten.
type Markers struct {
	TransactionalID string
	ProducerID      int64
	Epoch           int16
	Commit          bool
	// Version is the client's transaction version: from VersionBump on a partition takes the marker only if its
	// epoch is above that of the records.
	Version    int16
	Partitions []Partition
}

// Effects collect what the shell has to do after a call. The machine appends to them.
type Effects struct {
	Writes  []group.Write
	Markers []Markers
	Events  []group.Event
}

// Reset empties the effects and keeps their memory.
func (fx *Effects) Reset() {
	clear(fx.Writes)
	clear(fx.Markers)
	clear(fx.Events)
	fx.Writes, fx.Markers, fx.Events = fx.Writes[:0], fx.Markers[:0], fx.Events[:0]
}

// Machine is the state of the transactional ids of one partition of __transaction_state.
type Machine struct {
	config    Config
	version   int16 // of the cluster: transaction.version
	txns      map[string]*txn
	lastWrite group.WriteID
	inflight  map[group.WriteID]string // the id that a write is about
	abortAt   int64                    // Mono of the next look for transactions that take too long
	expireAt  int64                    // Mono of the next look for ids to forget
}

// New makes an empty machine. Feed the log to Apply, then call Loaded.
func New(config Config) *Machine {
	return &Machine{config: config, txns: map[string]*txn{}, inflight: map[group.WriteID]string{}}
}

// SetVersion tells the finalized level of transaction.version.
func (m *Machine) SetVersion(v int16) { m.version = v }

// SetConfig changes the settings.
func (m *Machine) SetConfig(c Config) { m.config = c }

// Len is the number of transactional ids.
func (m *Machine) Len() int { return len(m.txns) }

// Busy says that a transactional id is between two states: who is told CONCURRENT_TRANSACTIONS may soon hear more.
func (m *Machine) Busy(id string) bool {
	t := m.txns[id]
	return t != nil && (t.pending || t.state.preparing())
}

// txn is one transactional id with its latest transaction.
type txn struct {
	id         string
	producerID int64
	previousID int64 // before the last rotation, or of the last transaction
	nextID     int64 // given to the client at the end of a transaction whose epoch was the last
	epoch      int16
	nextEpoch  int16
	lastEpoch  int16 // before the last bump that the client asked for; not recorded
	timeoutMs  int32
	state      State
	partitions []Partition // sorted
	startMs    int64       // -1 before the first transaction
	updateMs   int64
	version    int16 // of the client, when the state was entered

	pending bool        // a write is under way
	unsent  []Partition // whose markers are not written yet, sorted
	retired bool        // its tombstone is on its way
}

// State is where a transactional id is. The numbers are those of the records, the names are seen by clients.
type State int8

// The states.
const (
	Empty State = iota
	Ongoing
	PrepareCommit
	PrepareAbort
	CompleteCommit
	CompleteAbort
	Dead
	PrepareEpochFence // Kafka's name for a moment that is never recorded
)

// stateNames are in the order of the states.
var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

func (s State) String() string { return stateNames[s] }

// preparing says that markers are being written.
func (s State) preparing() bool { return s == PrepareCommit || s == PrepareAbort }

// has says whether the partition takes part.
func (t *txn) has(p Partition) bool {
	_, ok := slices.BinarySearchFunc(t.partitions, p, comparePartitions)
	return ok
}

// exhausted says that the client has the last epoch it can get.
func (t *txn) exhausted() bool { return t.epoch >= lastEpoch }

// next is the state as a record has it, to be changed and given to record.
func (t *txn) next(now Time, s State) wire.TransactionLogValue {
	v := t.value()
	v.TransactionStatus = int8(s)
	v.TransactionLastUpdateTimestampMs = now.Wall
	return v
}

// record writes and applies a new state.
func (m *Machine) record(t *txn, v *wire.TransactionLogValue, fx *Effects) {
	if m.version < VersionFlexible {
		v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = noProducer, noProducer, 0 // the record has no place for them
	}
	m.lastWrite++
	t.pending = true
	m.inflight[m.lastWrite] = t.id
	r := group.Record{Key: appendKey(t.id), Value: appendValue(v, m.version)}
	fx.Writes = append(fx.Writes, group.Write{ID: m.lastWrite, Applied: true, Records: []group.Record{r}})
	m.apply(t.id, v)
}

// Settle tells that a write is committed. A write that fails is not told: the machine is given up.
func (m *Machine) Settle(now Time, id group.WriteID, fx *Effects) {
	name, ok := m.inflight[id]
	if !ok {
		return
	}
	delete(m.inflight, id)
	t := m.txns[name]
	if t == nil {
		return
	}
	t.pending = false
	if t.retired {
		delete(m.txns, name)
		return
	}
	if t.state.preparing() {
		m.send(now, t, fx)
	}
}

// send asks for the markers of a prepared transaction; one without partitions needs none.
func (m *Machine) send(now Time, t *txn, fx *Effects) {
	if len(t.unsent) == 0 {
		m.complete(now, t, fx)
		return
	}
	fx.Markers = append(fx.Markers, Markers{
		TransactionalID: t.id, ProducerID: t.producerID, Epoch: t.epoch, Commit: t.state == PrepareCommit, Version: t.version,
		Partitions: slices.Clone(t.unsent),
	})
}

// Loaded ends loading: transactions that were about to end get their markers, which may have been written before.
func (m *Machine) Loaded(now Time, fx *Effects) {
	m.abortAt, m.expireAt = now.Mono+m.config.AbortCheckMs, now.Mono+m.config.ExpirationCheckMs
	for _, id := range m.ids() {
		if t := m.txns[id]; t.state.preparing() {
			m.send(now, t, fx)
		}
	}
}

// ids are the transactional ids in their order.
func (m *Machine) ids() []string {
	return slices.Sorted(maps.Keys(m.txns))
}
