package commitlog_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// world is a store on a simulated disk, with a model of what it acknowledged.
type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	disk  *vfs.Sim
	hand  *clock.Hand
	store *commitlog.Store
	model map[string]*modelLog
	// next numbers the batches: each one is told apart by its content.
	next uint64
}

// modelLog is what a log must hold: every acknowledged batch, and of the others any prefix.
type modelLog struct {
	written bool
	// start is how far records were deleted.
	start int64
	// sent are all batches by base offset in this and earlier lives, as far as nothing else took their place.
	sent []sentBatch
	// refused are those that a full disk refused. A restart may find them: cutting them off was perhaps not durable.
	refused []sentBatch
	acked   int64 // all below was acknowledged, or found at a start
	// doomed says that the log was being deleted or created again when the machine died.
	doomed bool
}

type sentBatch struct {
	base, last int64
	data       []byte
	a          *commitlog.Append
}

const topics = 3

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), disk: vfs.NewSim(vfs.SimConfig{Seed: seed}), hand: clock.NewHand(seed), model: map[string]*modelLog{}}
	w.open()
	for i := range topics {
		w.create(fmt.Sprint("t", i), w.config(i))
	}
	return w
}

func (w *world) config(i int) commitlog.LogConfig {
	return commitlog.LogConfig{SegmentBytes: 100 << 10, IndexIntervalBytes: 512, Written: i == 2}
}

func (w *world) options() commitlog.StoreOptions {
	return commitlog.StoreOptions{
		FS: w.disk.Mount(), Dir: "/data", World: w.hand, Logger: slog.New(slog.DiscardHandler),
		JournalFileBytes: 1 << 20, TailBytes: 512 << 10, MaxOpenFiles: 8,
		Config: func(topic string, _ int32) commitlog.LogConfig { return w.config(int(topic[1] - '0')) },
	}
}

func (w *world) open() {
	s, err := commitlog.Open(w.options())
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
	w.store = s
}

func (w *world) create(topic string, c commitlog.LogConfig) {
	id := clock.UUIDBits(w.hand)
	if _, err := w.store.Create(topic, 0, id, c); err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
	w.model[topic] = &modelLog{written: c.Written}
}

// numbered makes a batch that is unlike any other.
func (w *world) numbered(size int) []byte {
	w.next++
	value := make([]byte, max(size, 8))
	for i := 8; i < len(value); i++ {
		value[i] = byte(i*7 + int(w.next))
	}
	binary.BigEndian.PutUint64(value, w.next)
	b := record.NewBuilder(nil, record.Options{})
	n := 1 + w.rng.IntN(3)
	for range n {
		b.Append(w.hand.Now().UnixMilli(), nil, value)
	}
	data, err := b.Finish()
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// append sends a batch, and takes note of its fate.
func (w *world) append(topic string, size int) *commitlog.Append {
	m := w.model[topic]
	l, ok := w.store.Log(topic, 0)
	if !ok {
		return &commitlog.Append{Err: commitlog.ErrClosed}
	}
	a := &commitlog.Append{Records: w.numbered(size), LeaderEpoch: 1}
	a.Done = func(a *commitlog.Append) {
		if a.Err == nil && w.model[topic] == m {
			if a.LastOffset+1 > m.acked {
				m.acked = a.LastOffset + 1
			}
		}
	}
	l.Append(a)
	if a.Err == nil {
		m.sent = append(m.sent, sentBatch{a.BaseOffset, a.LastOffset, a.Records, a})
	}
	return a
}

// check reads a log from start to end and compares it with the model.
func (w *world) check(topic string, powerCut bool) {
	m := w.model[topic]
	l, ok := w.store.Log(topic, 0)
	if m.doomed {
		if ok {
			_ = w.store.Delete(l)
		}
		w.create(topic, w.config(int(topic[1]-'0')))
		return
	}
	if powerCut && (m.acked == 0 || m.written) && (!ok || l.TopicID() == [16]byte{}) {
		// Nothing in it was durable yet, so neither is its directory; who asked for it asks again.
		if ok {
			_ = w.store.Delete(l)
		}
		w.create(topic, w.config(int(topic[1]-'0')))
		return
	}
	if !ok {
		w.t.Fatalf("seed %d: %s is gone", w.seed, topic)
	}
	if err := l.Err(); err != nil {
		w.t.Fatalf("seed %d: %s: %v", w.seed, topic, err)
	}
	got := w.readAll(l, l.Start(), l.Stable())
	if l.Stable() < m.acked && !(m.written && powerCut) {
		w.t.Fatalf("seed %d: %s was acknowledged up to %d and has %d; %v", w.seed, topic, m.acked, l.Stable(), w.store.Report().Notes)
	}
	offset := l.Start()
	var kept []sentBatch
	for len(got) > 0 {
		b, rest, err := record.Next(got)
		if err != nil {
			w.t.Fatalf("seed %d: %s at %d: %v", w.seed, topic, offset, err)
		}
		if len(kept) == 0 && b.BaseOffset() < offset && b.LastOffset() >= offset {
			offset = b.BaseOffset() // records were deleted up to the middle of this batch
		}
		if b.BaseOffset() <= m.start {
			// A deletion that was cut short may bring back some of what it deleted, and not all.
			offset = max(offset, b.BaseOffset())
		}
		if b.CheckCRC() != nil || b.BaseOffset() != offset {
			w.t.Fatalf("seed %d: %s: offset %d, expected %d, %v", w.seed, topic, b.BaseOffset(), offset, b.CheckCRC())
		}
		found := false
		for i := range m.sent {
			if m.sent[i].base == offset && bytes.Equal(m.sent[i].data, b) {
				kept, found = append(kept, m.sent[i]), true
				break
			}
		}
		if !found {
			w.t.Fatalf("seed %d: %s has an unknown batch at %d", w.seed, topic, offset)
		}
		offset = b.LastOffset() + 1
		got = rest
	}
	if offset != l.End() {
		w.t.Fatalf("seed %d: %s can be read up to %d, its end is %d", w.seed, topic, offset, l.End())
	}
	for _, sent := range m.sent {
		if sent.last < l.Start() {
			kept = append(kept, sent) // a deletion that is not durable yet may be forgotten
		}
	}
	m.sent, m.acked = kept, offset
}

func (w *world) readAll(l *commitlog.Log, from, to int64) []byte {
	var all []byte
	for from < to {
		v, err := l.Read(from, to, 1+w.rng.IntN(64<<10), true)
		if err != nil {
			w.t.Fatalf("seed %d: reading %s at %d: %v", w.seed, l.Topic(), from, err)
		}
		b, err := v.Bytes(nil)
		size, pos, mem := v.Len, v.Pos, v.Mem != nil
		v.Release()
		if err != nil || len(b) == 0 {
			w.t.Fatalf("seed %d: reading %s at %d of %d: %d bytes, %v", w.seed, l.Topic(), from, to, len(b), err)
		}
		before := from
		for len(b) > 0 {
			e, rest, err := record.Next(b)
			if err != nil {
				break // cut by maxBytes
			}
			if e.LastOffset() >= from {
				all = append(all, e...)
				from = e.LastOffset() + 1
			}
			b = rest
		}
		if from == before {
			w.t.Fatalf("seed %d: reading %s at %d of %d gives nothing that is wanted: %d bytes at %d, in memory %v", w.seed, l.Topic(), from, to, size, pos, mem)
		}
	}
	return all
}

// restart ends the process and starts it again.
func (w *world) restart(powerCut bool) {
	w.hand.Kill()
	if powerCut {
		w.disk.PowerCut(vfs.Mix)
	} else {
		w.disk.Crash()
	}
	w.hand = clock.NewHand(w.rng.Uint64())
	w.open()
	for _, m := range w.model {
		m.sent, m.refused = append(m.sent, m.refused...), nil
	}
	for i := range topics {
		w.check(fmt.Sprint("t", i), powerCut)
	}
}

// step does something at random.
func (w *world) step() {
	topic := fmt.Sprint("t", w.rng.IntN(topics))
	switch w.rng.IntN(12) {
	case 0, 1, 2, 3, 4:
		w.append(topic, w.rng.IntN(2000))
	case 5:
		w.append(topic, 70<<10)
	case 6:
		w.append(topic, 20<<10)
	case 7, 8:
		w.hand.RunOne()
	case 9:
		w.hand.Run()
	case 10:
		w.hand.Advance(time.Duration(w.rng.IntN(3)) * time.Second)
	case 11:
		w.rareStep(topic)
	}
}

// rareStep does what happens now and then in a log's life.
func (w *world) rareStep(topic string) {
	m := w.model[topic]
	l, ok := w.store.Log(topic, 0)
	if !ok || l.Err() != nil {
		return
	}
	switch w.rng.IntN(8) {
	case 0, 1:
		_ = w.store.Checkpoint()
	case 2, 3:
		// Until Truncate has returned nothing is promised above the offset; below, all.
		if len(m.sent) == 0 || l.End() != l.Stable() {
			return
		}
		at := m.sent[w.rng.IntN(len(m.sent))].base
		if at < l.Start() || at > l.Stable() {
			return
		}
		m.acked = min(m.acked, at)
		if l.Truncate(at) == nil {
			m.cut(at)
		}
	case 4:
		before := l.Start() + int64(w.rng.IntN(int(l.Stable()-l.Start())+1))
		_ = l.DeleteRecords(before)
		m.start = max(m.start, before)
	case 5:
		// The same topic id comes again, as when a replica moves away and back.
		id := l.TopicID()
		if w.store.Delete(l) != nil {
			m.doomed = true
			return
		}
		*m = modelLog{written: m.written}
		if _, err := w.store.Create(topic, 0, id, w.config(int(topic[1]-'0'))); err != nil {
			m.doomed = true
		}
	case 6:
		w.store.Retain()
		m.start = max(m.start, l.Start())
	}
}

// cut forgets what was sent from an offset on.
func (m *modelLog) cut(at int64) {
	kept := m.sent[:0]
	for _, s := range m.sent {
		if s.base < at {
			kept = append(kept, s)
		}
	}
	m.sent, m.start = kept, min(m.start, at)
}

func TestAcknowledgedRecordsSurviveCrashes(t *testing.T) {
	if one, err := strconv.ParseUint(os.Getenv("CRASH_SEED"), 10, 64); err == nil {
		crashes(t, one, func(op vfs.Op) {
			if op.Kind&vfs.OpCounted != 0 {
				t.Log(op.Kind, op.Path, op.To, op.Off, op.Len, op.Err)
			}
		})
		return
	}
	for seed := range seeds() {
		crashes(t, seed, nil)
	}
}

// crashes lives through one history of crashes, and ends in a clean stop.
func crashes(t *testing.T, seed uint64, trace func(vfs.Op)) {
	w := newWorld(t, seed)
	w.disk.SetTrace(trace)
	for range 4 {
		for range w.rng.IntN(60) {
			w.step()
		}
		if w.rng.IntN(3) == 0 {
			w.disk.CutAt(int64(1 + w.rng.IntN(20)))
			for range 30 {
				w.step()
			}
		}
		if trace != nil {
			t.Log("restart")
		}
		w.restart(w.rng.IntN(3) > 0)
	}
	w.hand.Run()
	if err := w.store.CloseClean(7); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	w.open()
	if r := w.store.Report(); !r.Clean || r.BrokerEpoch != 7 || len(r.Notes) > 0 {
		t.Fatalf("seed %d: %+v", seed, r)
	}
	for i := range topics {
		w.check(fmt.Sprint("t", i), false)
	}
}

// seeds is how many histories are tried: CRASH_SEEDS asks for more than the usual run, CRASH_SEED for one with all its disk operations.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("CRASH_SEEDS"), 10, 64); err == nil {
		return n
	}
	return 250
}
