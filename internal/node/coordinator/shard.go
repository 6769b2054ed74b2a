package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// Log is one partition of an internal topic that this broker leads.
type Log interface {
	// Append adds one batch, which belongs to the log until done is called: once, with the offset of the first
	// record when all of it is committed, or with the reason why it is not. Errors are or wrap a wire.Code. done may
	// be called from within Append.
	Append(batch []byte, done func(baseOffset int64, err error))
	// Read gives committed batches, whole, from the one that holds offset from: into buf if they fit, and at least
	// one, however large. next is the offset to go on from; it equals from when there is nothing to read yet.
	Read(from int64, buf []byte) (batches []byte, next int64, err error)
	// Start is the first offset.
	Start() int64
	// HighWatermark is the offset behind the last committed record.
	HighWatermark() int64
	// End is the offset behind the last record, committed or not. What a former leader has left behind the high
	// watermark gets committed later, so a new coordinator must know of it before it serves.
	End() int64
}

// GuardedLog is a Log that takes batches of transactions.
type GuardedLog interface {
	Log
	// AppendGuarded is Append for a batch with the guard that its verification gave (KIP-890).
	AppendGuarded(batch []byte, guard uint64, done func(baseOffset int64, err error))
}

// machine is what a shard runs. All methods are called under the shard's lock, except replay and endTransaction,
// which are called before the machine is shared.
type machine interface {
	replay(e *group.Entry) (known bool, err error)
	endTransaction(producerID int64, commit bool, at int64)
	loaded(t *turn)
	expire(t *turn)
	next() (mono int64, ok bool)
	settle(t *turn, id group.WriteID, base int64, code wire.Code)
	unload(t *turn, code wire.Code)
}

// turn is what happens during one hold of the shard's lock: what to append, and what to call when it is released.
type turn struct {
	now    group.Time
	writes []group.Write
	calls  []func()
	later  []func() // behind all calls
}

// status is where a shard is in its life.
type status uint8

const (
	resigned status = iota
	loading
	active
	failed // the partition could not be loaded
)

// pending is a write under way, or something that waits for all writes before it.
type pending struct {
	id       group.WriteID // 0 if nothing is written, or if what is written is applied already
	applied  bool          // the machine has changed already, and is of no use if the write fails
	settled  bool
	base     int64
	code     wire.Code
	deadline int64 // Mono when who waits is told that it takes too long
	waiter   *waiter
}

// waiter is a request that waits for one or more pendings.
type waiter struct {
	left  int
	code  wire.Code
	then  func(t *turn, code wire.Code) // nil once called; runs under the lock
	first pending                       // of them: most have only this one
}

func (w *waiter) settle(t *turn, code wire.Code) {
	if w.code == wire.None {
		w.code = code
	}
	if w.left--; w.left <= 0 && w.then != nil {
		then := w.then
		w.then = nil
		then(t, w.code)
	}
}

// outgoing is what one batch of the log, or a part of one, is made of.
type outgoing struct {
	log      Log
	records  []group.Record
	bytes    int   // of them
	wall     int64 // their time
	producer *group.Producer
	of       *pending
}

// mergeBytes bounds the writes that go to the log in one batch: those that have come while the one before was handed
// over. A thousand commits that come at once are a few appends then.
const mergeBytes = 64 << 10

// pendingLimit bounds what may wait for one partition's log. When the log is so far behind, who asks is told to come
// again, so that a disk that hangs does not fill the memory.
const pendingLimit = 65_536

// maxPooledCalls bounds what a turn keeps whose memory is used again.
const maxPooledCalls = 1024

// splitBytes is where a write that is applied already goes on in another batch, to stay well below max.message.bytes.
// Each beginning of such a write is a state that a machine goes on from.
const splitBytes = 512 << 10

// options are what all shards of a coordinator have in common.
type options struct {
	world    clock.World
	logger   *slog.Logger
	topic    string
	codec    compress.Codec
	commitMs int64 // how long a request waits for its writes
}

// shard is one partition with its machine.
type shard[M machine] struct {
	opts      *options
	partition int32
	create    func() M
	turns     sync.Pool // of *turn

	// mu guards all below. It is a leaf: nothing is called under it but the machine and the world's AfterFunc.
	mu       sync.Mutex
	status   status
	epoch    int32
	term     uint64 // counts elections and resignations, to know late callbacks
	log      Log
	machine  M
	pendings []*pending // in the order decided
	outbox   []outgoing
	sending  bool
	flying   int  // batches, and lists of markers, that have been handed over and of whose outcome nothing is known
	reload   bool // load anew once nothing is flying
	loads    int
	loadTook time.Duration // the last one
	timer    clock.Timer
	armed    int64 // Mono the timer is set to, 0 for none
}

func newShard[M machine](opts *options, partition int32, create func() M) *shard[M] {
	return &shard[M]{opts: opts, partition: partition, create: create, epoch: -1}
}

// begin starts a turn; the caller holds the lock.
func (s *shard[M]) begin() *turn {
	t, _ := s.turns.Get().(*turn)
	if t == nil {
		t = &turn{}
	}
	t.now = group.Time{Wall: clock.Millis(s.opts.world.Now()), Mono: s.opts.world.Mono().Milliseconds()}
	return t
}

// end does what the turn has brought and releases the lock.
func (s *shard[M]) end(t *turn) {
	s.enqueue(t, nil)
	s.arm(t.now.Mono)
	s.mu.Unlock()
	s.flush()
	for _, call := range t.calls {
		call()
	}
	for _, call := range t.later {
		call()
	}
	if cap(t.calls) > maxPooledCalls || cap(t.later) > maxPooledCalls {
		return
	}
	clear(t.calls)
	clear(t.later)
	t.calls, t.later = t.calls[:0], t.later[:0]
	s.turns.Put(t)
}

// do runs op on the machine. If op returns then, that runs, under the lock, when all that op has written is
// settled. refused is called instead if the shard does not serve.
func (s *shard[M]) do(op func(m M, t *turn) (then func(*turn, wire.Code)), refused func(wire.Code)) {
	s.mu.Lock()
	if code := s.refusal(); code != wire.None {
		s.mu.Unlock()
		refused(code)
		return
	}
	t := s.begin()
	then := op(s.machine, t)
	switch {
	case then == nil:
	case len(t.writes) == 0:
		then(t, wire.None)
	default:
		s.enqueue(t, &waiter{then: then})
	}
	s.end(t)
}

// after runs then, under the lock, when all writes so far are settled.
func (s *shard[M]) after(then func(m M, t *turn, code wire.Code), refused func(wire.Code)) {
	s.mu.Lock()
	if code := s.refusal(); code != wire.None {
		s.mu.Unlock()
		refused(code)
		return
	}
	t := s.begin()
	m := s.machine
	w := &waiter{left: 1, then: func(t *turn, code wire.Code) { then(m, t, code) }}
	s.pendings = append(s.pendings, &pending{settled: true, deadline: t.now.Mono + s.opts.commitMs, waiter: w})
	s.settleHead(t)
	s.end(t)
}

func (s *shard[M]) refusal() wire.Code {
	switch s.status {
	case active:
		if len(s.pendings) >= pendingLimit {
			return wire.CoordinatorNotAvailable
		}
		return wire.None
	case loading:
		return wire.CoordinatorLoadInProgress
	default:
		return wire.NotCoordinator
	}
}

// enqueue turns the turn's writes into batches for the log.
func (s *shard[M]) enqueue(t *turn, w *waiter) {
	for i := range t.writes {
		all := t.writes[i].Records
		for len(all) > 0 {
			part := all
			if t.writes[i].Applied {
				part = firstBytes(all, splitBytes)
			}
			all = all[len(part):]
			s.enqueueBatch(t, &t.writes[i], part, w)
		}
	}
	clear(t.writes)
	t.writes = t.writes[:0]
	s.settleHead(t)
}

// enqueueBatch puts records of a write on their way.
func (s *shard[M]) enqueueBatch(t *turn, write *group.Write, records []group.Record, w *waiter) {
	var p *pending
	switch {
	case w == nil:
		p = &pending{}
	case w.left == 0 && w.first.waiter == nil:
		p, w.left = &w.first, 1
	default:
		p = &pending{}
		w.left++
	}
	*p = pending{id: write.ID, applied: write.Applied, deadline: t.now.Mono + s.opts.commitMs, waiter: w}
	s.pendings = append(s.pendings, p)
	o := outgoing{log: s.log, records: records, wall: t.now.Wall, producer: write.Producer, of: p}
	for i := range records {
		o.bytes += len(records[i].Key) + len(records[i].Value) + recordOverhead
	}
	s.outbox = append(s.outbox, o)
}

const (
	// recordOverhead and batchOverhead are at most what a small record and a batch need besides keys and values.
	recordOverhead = 24
	batchOverhead  = 64
)

// next takes the writes of the next batch from the outbox: one of a transaction, or as many others as fit. The caller
// holds the lock.
func (s *shard[M]) next() []outgoing {
	n, bytes := 1, s.outbox[0].bytes
	for n < len(s.outbox) && s.outbox[0].producer == nil && s.outbox[n].producer == nil && s.outbox[n].log == s.outbox[0].log {
		if bytes += s.outbox[n].bytes; bytes > mergeBytes {
			break
		}
		n++
	}
	part := s.outbox[:n:n]
	s.outbox = s.outbox[n:]
	return part
}

// encode makes one batch.
func (s *shard[M]) encode(part []outgoing) ([]byte, error) {
	opts := record.Options{Codec: s.opts.codec, Level: compress.DefaultLevel}
	if tx := part[0].producer; tx != nil {
		opts.Idempotent, opts.Transactional = true, true
		opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = tx.ID, tx.Epoch, -1
	}
	bytes := batchOverhead
	for i := range part {
		bytes += part[i].bytes
	}
	b := record.NewBuilder(make([]byte, 0, bytes), opts)
	for i := range part {
		for _, r := range part[i].records {
			b.Append(part[i].wall, r.Key, r.Value)
		}
	}
	batch, err := b.Finish()
	if err != nil {
		return nil, fmt.Errorf("encoding a batch of %d bytes: %w: %w", bytes, wire.MessageTooLarge, err)
	}
	return batch, nil
}

// firstBytes are the first records that have about as many bytes, at least one.
func firstBytes(records []group.Record, limit int) []group.Record {
	n := 0
	for i := range records {
		if n += len(records[i].Key) + len(records[i].Value); n > limit && i > 0 {
			return records[:i]
		}
	}
	return records
}

// flush hands batches to the log, one caller at a time so that they keep their order.
func (s *shard[M]) flush() {
	s.mu.Lock()
	if s.sending {
		s.mu.Unlock()
		return
	}
	s.sending = true
	for len(s.outbox) > 0 {
		part := s.next()
		s.flying++
		term := s.term
		s.mu.Unlock()
		s.send(term, part)
		s.mu.Lock()
	}
	s.outbox, s.sending = nil, false
	s.mu.Unlock()
}

// send hands one batch to the log.
func (s *shard[M]) send(term uint64, part []outgoing) {
	done := func(base int64, err error) { s.appended(term, part, base, err) }
	batch, err := s.encode(part)
	if err != nil {
		done(-1, err)
		return
	}
	if log, ok := part[0].log.(GuardedLog); ok && part[0].producer != nil && part[0].producer.Guard != 0 {
		log.AppendGuarded(batch, part[0].producer.Guard, done)
		return
	}
	part[0].log.Append(batch, done)
}

// appended takes the outcome of an append.
func (s *shard[M]) appended(term uint64, part []outgoing, base int64, err error) {
	s.mu.Lock()
	s.flying--
	if s.term != term {
		s.loadAgain()
		s.mu.Unlock()
		return // leadership has ended meanwhile, and whoever waited was told so
	}
	code := codeOf(err)
	for i := range part {
		p := part[i].of
		p.settled, p.base, p.code = true, base, code
		base += int64(len(part[i].records))
	}
	t := s.begin()
	if err != nil {
		t.calls = append(t.calls, func() {
			s.opts.logger.Warn("append to internal topic failed", "topic", s.opts.topic, "partition", s.partition, "error", err)
		})
	}
	s.settleHead(t)
	s.end(t)
}

// settleHead settles pendings from the oldest on, as far as their outcomes are known.
func (s *shard[M]) settleHead(t *turn) {
	for len(s.pendings) > 0 && s.pendings[0].settled {
		p := s.pendings[0]
		s.pendings[0] = nil
		s.pendings = s.pendings[1:]
		code := group.AppendCode(p.code)
		if p.applied && code != wire.None {
			s.restart(t, p, code)
			return
		}
		if p.id != 0 {
			s.machine.settle(t, p.id, p.base, code)
		}
		if p.waiter != nil {
			p.waiter.settle(t, code)
		}
		if len(t.writes) > 0 {
			s.enqueue(t, nil)
		}
	}
}

// codeOf is the code of an error of the log.
func codeOf(err error) wire.Code {
	if err == nil {
		return wire.None
	}
	var code wire.Code
	if errors.As(err, &code) {
		return code
	}
	return wire.KafkaStorageError
}

// arm sets the shard's timer to the next thing to do, unless it comes early enough as it is.
func (s *shard[M]) arm(now int64) {
	if s.status != active {
		return
	}
	at, ok := s.machine.next()
	if p := s.impatient(); p != nil && (!ok || p.deadline < at) {
		at, ok = p.deadline, true
	}
	if !ok || s.armed != 0 && s.armed <= at {
		return
	}
	s.armed = max(at, 1)
	d := time.Duration(max(at-now, 0)) * time.Millisecond
	if s.timer != nil {
		s.timer.Reset(d)
		return
	}
	term := s.term
	s.timer = s.opts.world.AfterFunc(d, func() { s.wake(term) })
}

// impatient is the oldest pending with somebody who waits.
func (s *shard[M]) impatient() *pending {
	for _, p := range s.pendings {
		if p.waiter != nil && p.waiter.then != nil {
			return p
		}
	}
	return nil
}

// wake does what is due.
func (s *shard[M]) wake(term uint64) {
	s.mu.Lock()
	if s.term != term || s.status != active {
		s.mu.Unlock()
		return
	}
	s.armed = 0
	t := s.begin()
	s.machine.expire(t)
	for p := s.impatient(); p != nil && p.deadline <= t.now.Mono; p = s.impatient() {
		// The write may still succeed; the client finds out when it asks again.
		w := p.waiter
		w.left = 0
		w.settle(t, group.AppendCode(wire.RequestTimedOut))
	}
	s.end(t)
}

// elect makes the broker the leader of the partition: it loads, unless it was the leader before, in a lower epoch.
// An epoch that is not newer says nothing new.
func (s *shard[M]) elect(epoch int32, log Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch <= s.epoch {
		return
	}
	s.epoch, s.log = epoch, log
	if s.status == active || s.status == loading {
		return
	}
	s.status = loading
	s.term++
	s.load()
}

// load begins to load in the background. The caller holds the lock.
func (s *shard[M]) load() {
	l := &loader[M]{shard: s, term: s.term, log: s.log, machine: s.create(), from: s.log.Start(), end: s.log.End(), began: s.opts.world.Mono()}
	s.opts.world.Go("load "+s.opts.topic, l.run)
}

// restart rolls back: a write has failed that the machine has applied already, so the machine goes, and the partition
// is loaded anew in the same epoch, once the log has told the outcome of all that it was given. Who waits for the
// failed write hears why, and who waits for another has to come again.
func (s *shard[M]) restart(t *turn, failed *pending, code wire.Code) {
	s.drop(t, failed, code, wire.CoordinatorLoadInProgress)
	s.status, s.reload = loading, true
	t.calls = append(t.calls, func() {
		s.opts.logger.Warn("a change could not be written; the partition is loaded anew",
			"topic", s.opts.topic, "partition", s.partition, "error", code)
	})
	s.loadAgain()
}

// loadAgain begins the load that a restart has asked for, unless outcomes are missing. The caller holds the lock.
func (s *shard[M]) loadAgain() {
	if s.reload && s.flying == 0 && s.status == loading {
		s.reload = false
		s.load()
	}
}

// drop ends the machine's service and answers everybody who waits for it.
func (s *shard[M]) drop(t *turn, failed *pending, why, others wire.Code) {
	s.outbox, s.armed = nil, 0
	s.term++
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	pendings := s.pendings
	s.pendings = nil
	if failed != nil && failed.waiter != nil {
		failed.waiter.left = 0
		failed.waiter.settle(t, why)
	}
	for _, p := range pendings {
		if p.waiter != nil {
			p.waiter.left = 0
			p.waiter.settle(t, others)
		}
	}
	s.machine.unload(t, others)
	var none M
	s.machine = none
	t.writes = nil
}

// resign ends leadership. Who waits is told to look for the new coordinator.
func (s *shard[M]) resign() {
	s.mu.Lock()
	was, t := s.status, s.begin()
	s.status, s.log, s.reload = resigned, nil, false
	if was == active {
		s.drop(t, nil, wire.None, wire.NotCoordinator)
	}
	s.term++
	s.mu.Unlock()
	for _, call := range t.calls {
		call()
	}
}
