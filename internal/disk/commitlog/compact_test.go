package commitlog_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
)

// compacted is a store with one compacted log on a simulated disk, and a naive model of what readers must see.
type compacted struct {
	t       testing.TB
	pick    func(n int) int // 0 to n-1
	disk    *vfs.Sim
	hand    *clock.Hand
	cleaner *commitlog.Cleaner
	store   *commitlog.Store
	log     *commitlog.Log
	cfg     commitlog.LogConfig
	opts    commitlog.CleanerOptions

	// records are all that were ever appended, by offset; those of aborted transactions know it.
	records map[int64]*modelRecord
	end     int64
	writers []*writer
	serial  int
	runs    int64 // cleanings of earlier lives
}

type modelRecord struct {
	offset, ts int64
	key        string
	value      []byte // nil: a tombstone
	txn        *modelTxn
}

type modelTxn struct{ open, aborted bool }

// writer is an idempotent or transactional producer.
type writer struct {
	id   int64
	next int32
	txn  *modelTxn // nil outside of transactions
}

// namedTB names the seed of a history that fails.
type namedTB struct {
	testing.TB
	seed uint64
}

func (t namedTB) Fatal(args ...any) {
	t.Helper()
	t.TB.Fatalf("seed %d: %s", t.seed, fmt.Sprint(args...))
}

func (t namedTB) Fatalf(format string, args ...any) {
	t.Helper()
	t.TB.Fatalf("seed %d: "+format, append([]any{t.seed}, args...)...)
}

const compactedTopic = "kept"

func newCompacted(t testing.TB, seed uint64, pick func(n int) int) *compacted {
	w := &compacted{t: t, pick: pick, disk: vfs.NewSim(vfs.SimConfig{Seed: seed}), hand: clock.NewHand(seed), records: map[int64]*modelRecord{}}
	w.cfg = commitlog.LogConfig{
		SegmentBytes: 3 << 10, IndexIntervalBytes: 200, Compact: true, MinCleanableRatio: 0.01, DeleteRetentionMs: 10_000,
		FileDeleteDelayMs: 2000, RetentionBytes: -1, RetentionMs: -1, Written: pick(4) == 0,
	}
	w.opts = commitlog.CleanerOptions{BackoffMs: 1000, DedupeBytes: 1 << 20}
	if pick(3) == 0 {
		w.opts.DedupeBytes = 20 * 12 // several rounds for one log
	}
	for i := range 4 {
		w.writers = append(w.writers, &writer{id: int64(1000 + i)})
	}
	w.open()
	w.create()
	return w
}

func (w *compacted) open() {
	w.t.Helper()
	w.cleaner = commitlog.NewCleaner(w.hand, nil, w.opts)
	s, err := commitlog.Open(commitlog.StoreOptions{
		FS: w.disk.Mount(), Dir: "/data", World: w.hand, Logger: slog.New(slog.DiscardHandler), Cleaner: w.cleaner,
		JournalFileBytes: 1 << 20, MaxOpenFiles: 6, OffsetCheckpointMs: 1000,
		Config: func(string, int32) commitlog.LogConfig { return w.cfg },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	l, ok := s.Log(compactedTopic, 0)
	if w.log != nil && w.end == 0 && (!ok || l.TopicID() == [16]byte{}) {
		// The power went before anything in it was acknowledged.
		if ok {
			_ = s.Delete(l)
		}
		w.create()
		return
	}
	if ok {
		w.log = l
		l.SkipVerification(true)
		if l.Err() != nil {
			w.t.Fatal(l.Err())
		}
	}
}

// create makes the log.
func (w *compacted) create() {
	w.t.Helper()
	l, err := w.store.Create(compactedTopic, 0, clock.UUIDBits(w.hand), w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = l
	l.SkipVerification(true)
}

// append appends and waits for it, while cleaning goes on in between.
func (w *compacted) append(batch record.Batch, origin commitlog.Origin) *commitlog.Append {
	w.t.Helper()
	done := false
	a := &commitlog.Append{Records: batch, LeaderEpoch: 1, Origin: origin, Done: func(*commitlog.Append) { done = true }}
	w.log.Append(a)
	for !done && w.hand.RunOne() {
	}
	if !done {
		a.Err = errors.New("nobody answers")
	}
	return a
}

// produce appends a batch of a few records; who is nil for a plain producer.
func (w *compacted) produce(who *writer, txn *modelTxn) error {
	w.t.Helper()
	o := record.Options{Codec: compress.Codec(max(w.pick(9)-4, 0)), Level: compress.DefaultLevel}
	n := 1 + w.pick(5)
	if who != nil {
		o.Idempotent, o.ProducerID, o.BaseSequence, o.Transactional = true, who.id, who.next, txn != nil
	}
	b := record.NewBuilder(nil, o)
	var fresh []*modelRecord
	for range n {
		w.serial++
		r := &modelRecord{ts: w.hand.Now().UnixMilli() - int64(w.pick(3)), key: w.key(), txn: txn}
		if w.pick(5) > 0 {
			r.value = fmt.Appendf(nil, "%d-%s", w.serial, strings.Repeat("v", w.pick(80)))
		}
		b.Append(r.ts, []byte(r.key), r.value)
		fresh = append(fresh, r)
	}
	data, err := b.Finish()
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.append(data, commitlog.Client)
	if a.Err != nil {
		return a.Err
	}
	for i, r := range fresh {
		r.offset = a.BaseOffset + int64(i)
		w.records[r.offset] = r
	}
	w.end = a.LastOffset + 1
	if who != nil {
		who.next += int32(n)
	}
	return nil
}

// key gives one of a few keys, short and long.
func (w *compacted) key() string {
	i := w.pick(12)
	return []string{"", "k%d", "key-%08d", "a-longer-key-%020d", strings.Repeat("x", 60) + "%d"}[1+i%4] + fmt.Sprint(i)
}

// mark ends the writer's transaction.
func (w *compacted) mark(who *writer, commit bool) error {
	b, err := record.AppendEndTxnMarker(nil, &record.EndTxnMarker{ProducerID: who.id, Commit: commit, Timestamp: w.hand.Now().UnixMilli()})
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.append(b, commitlog.Coordinator)
	if a.Err != nil {
		return a.Err
	}
	who.txn.open, who.txn.aborted = false, !commit
	who.txn = nil
	w.end = a.LastOffset + 1
	return nil
}

// step does something at random; the error is that of a disk that died.
func (w *compacted) step() error {
	who := w.writers[w.pick(len(w.writers))]
	switch w.pick(14) {
	case 0, 1, 2:
		return w.produce(nil, nil)
	case 3, 4:
		if who.txn == nil {
			return w.produce(who, nil)
		}
		return w.produce(who, who.txn)
	case 5, 6:
		if who.txn == nil {
			who.txn = &modelTxn{open: true}
		}
		return w.produce(who, who.txn)
	case 7, 8:
		if who.txn != nil {
			return w.mark(who, w.pick(2) == 0)
		}
	case 9:
		w.hand.RunOne()
	case 10:
		w.hand.Advance(time.Duration(w.pick(3000)) * time.Millisecond)
	case 11:
		if w.pick(4) == 0 {
			w.hand.Advance(15 * time.Second)
		}
	case 12:
		w.cleaner.Kick()
		w.hand.RunOne()
	case 13:
		return w.store.Checkpoint()
	}
	return nil
}

// batches reads the whole log.
func (w *compacted) batches() []record.Batch {
	w.t.Helper()
	var list []record.Batch
	for from, end := w.log.Start(), w.log.Stable(); from < end; {
		v, err := w.log.Read(from, end, 1+w.pick(4<<10), true)
		if err != nil {
			w.t.Fatalf("reading at %d: %v", from, err)
		}
		b, err := v.Bytes(nil)
		v.Release()
		if err != nil || len(b) == 0 {
			w.t.Fatalf("reading at %d of %d: %d bytes, %v", from, end, len(b), err)
		}
		for len(b) > 0 {
			e, rest, err := record.Next(b)
			if err != nil {
				break // cut
			}
			if err := e.CheckCRC(); err != nil {
				w.t.Fatal(err)
			}
			if e.LastOffset() >= from {
				list = append(list, slices.Clone(e))
				from = e.LastOffset() + 1
			}
			b = rest
		}
	}
	return list
}

// seen is a record as a reader sees it.
type seen struct {
	offset, ts int64
	key        string
	value      []byte
}

func (w *compacted) recordsOf(b record.Batch) []seen {
	it, err := b.Iterate(nil, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	var list []seen
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		list = append(list, seen{r.Offset, r.Timestamp, string(r.Key), r.Value})
	}
	if it.Err() != nil {
		w.t.Fatal(it.Err())
	}
	return list
}

// check compares the log with the model.
func (w *compacted) check() {
	w.t.Helper()
	list := w.batches()
	if w.log.End() != w.end {
		w.t.Fatalf("the log ends at %d, %d was acknowledged", w.log.End(), w.end)
	}
	w.checkContent(list)
	w.checkCommitted(list)
	w.checkLookups(list)
}

// checkContent: what is there was appended, at that place.
func (w *compacted) checkContent(list []record.Batch) {
	w.t.Helper()
	last := int64(-1)
	for _, b := range list {
		if b.BaseOffset() <= last {
			w.t.Fatalf("batch %d to %d follows offset %d", b.BaseOffset(), b.LastOffset(), last)
		}
		last = b.LastOffset()
		if b.IsControl() {
			continue
		}
		for _, r := range w.recordsOf(b) {
			m := w.records[r.offset]
			if m == nil || m.key != r.key || !bytes.Equal(m.value, r.value) || (m.value == nil) != (r.value == nil) || m.ts != r.ts {
				w.t.Fatalf("record at %d is %+v, expected %+v", r.offset, r, m)
			}
		}
	}
}

// checkCommitted: a reader of committed records ends with the newest value of every key.
func (w *compacted) checkCommitted(list []record.Batch) {
	w.t.Helper()
	lso := w.log.LastStableOffset()
	aborted, err := w.log.AbortedTxns(w.log.Start(), lso)
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(aborted, func(a, b commitlog.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	got := map[string]seen{}
	skipping := map[int64]bool{}
	for _, b := range list {
		if b.BaseOffset() >= lso {
			break
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
			skipping[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if b.IsControl() {
			if m, ok, _ := b.EndTxnMarker(); ok && !m.Commit {
				delete(skipping, m.ProducerID)
			}
			continue
		}
		if b.IsTransactional() && skipping[b.ProducerID()] {
			continue
		}
		for _, r := range w.recordsOf(b) {
			if m := w.records[r.offset]; m.txn != nil && m.txn.aborted {
				w.t.Fatalf("record at %d was aborted and is shown", r.offset)
			}
			got[r.key] = r
		}
	}
	want := map[string]*modelRecord{}
	for offset := w.log.Start(); offset < lso; offset++ {
		if r := w.records[offset]; r != nil && !(r.txn != nil && r.txn.aborted) {
			want[r.key] = r
		}
	}
	for key, m := range want {
		r, ok := got[key]
		if m.value == nil && (!ok || r.value == nil) {
			continue
		}
		if !ok || r.offset != m.offset {
			w.t.Fatalf("key %q: the newest record is at %d, a reader finds %+v (%v); cleaned: %+v", key, m.offset, r, ok, w.status())
		}
	}
}

// checkLookups: any offset leads to the next batch, any time to the first record.
func (w *compacted) checkLookups(list []record.Batch) {
	w.t.Helper()
	if len(list) == 0 {
		return
	}
	for range 5 {
		at := w.log.Start() + int64(w.pick(int(w.end-w.log.Start())))
		v, err := w.log.Read(at, w.log.Stable(), 1, true)
		if err != nil {
			w.t.Fatal(err)
		}
		b, _ := v.Bytes(nil)
		v.Release()
		i, _ := slices.BinarySearchFunc(list, at, func(b record.Batch, at int64) int { return cmp.Compare(b.LastOffset(), at) })
		if i < len(list) && !bytes.Equal(b, list[i]) || i == len(list) && len(b) > 0 {
			w.t.Fatalf("offset %d does not lead to batch %d", at, i)
		}
		ts := w.hand.Now().UnixMilli() - int64(w.pick(30_000))
		want := int64(-1)
	search:
		for _, b := range list {
			for _, r := range w.recordsOf(b) {
				if r.ts >= ts {
					want = r.offset
					break search
				}
			}
		}
		place, found, err := w.log.OffsetForTimestamp(ts)
		if err != nil || found != (want >= 0) || found && place.Offset != want {
			w.t.Fatalf("time %d leads to %+v (%v, %v), expected %d", ts, place, found, err, want)
		}
	}
}

func (w *compacted) status() commitlog.CleanerLog {
	s := w.store.Cleaner()
	if len(s.Logs) == 0 {
		return commitlog.CleanerLog{}
	}
	return s.Logs[0]
}

// settle lets all that is under way end, including several cleanings.
func (w *compacted) settle() {
	w.t.Helper()
	w.hand.Advance(5 * time.Second)
	if err := w.store.Checkpoint(); err != nil {
		w.t.Fatal(err)
	}
	w.hand.Advance(5 * time.Second)
	if s := w.status(); s.Err != nil {
		w.t.Fatalf("the log became uncleanable: %v", s.Err)
	}
}

// checkCompact: below what was cleaned no key has two records.
func (w *compacted) checkCompact() {
	w.t.Helper()
	to := w.status().FirstDirty
	newest := map[string]int64{}
	for _, b := range w.batches() {
		if b.LastOffset() >= to || b.IsControl() {
			continue
		}
		for _, r := range w.recordsOf(b) {
			if before, ok := newest[r.key]; ok {
				w.t.Fatalf("key %q has records at %d and %d, all was cleaned up to %d", r.key, before, r.offset, to)
			}
			newest[r.key] = r.offset
			if m := w.records[r.offset]; m.txn != nil && m.txn.aborted {
				w.t.Fatalf("the record at %d was aborted; all was cleaned up to %d", r.offset, to)
			}
		}
	}
}

// lives lives through one history of compaction.
func (w *compacted) lives(steps int) {
	for range steps {
		if err := w.step(); err != nil {
			w.t.Fatal(err)
		}
		if w.pick(40) == 0 {
			w.check()
		}
		if w.pick(60) == 0 {
			w.restart(w.pick(3))
		}
	}
	w.settle()
	w.check()
	w.checkCompact()
	w.runs += w.cleaner.Stats().Runs
}

// restart ends the process: 0 cleanly, 1 by a crash, 2 by a power cut.
func (w *compacted) restart(how int) {
	w.t.Helper()
	switch how {
	case 0:
		if err := w.store.CloseClean(1); err != nil {
			w.t.Fatal(err)
		}
		w.hand.Kill()
		w.noLeftovers()
		if w.pick(2) == 0 {
			w.dropSnapshots()
		}
	case 1:
		w.hand.Kill()
		w.disk.Crash()
	case 2:
		if w.cfg.Written {
			_ = w.store.Checkpoint() // what is not synced may be lost there
		}
		w.hand.Kill()
		w.disk.PowerCut(vfs.Mix)
	}
	w.runs += w.cleaner.Stats().Runs
	now := w.hand.Mono()
	w.hand = clock.NewHand(uint64(w.pick(1 << 20)))
	w.hand.Advance(now)
	w.open()
	w.check()
}

// noLeftovers: a stopped directory has nothing that a cleaning began.
func (w *compacted) noLeftovers() {
	for _, e := range w.files() {
		if strings.HasSuffix(e, ".cleaned") || strings.HasSuffix(e, ".swap") {
			w.t.Fatalf("a clean stop leaves %s", e)
		}
	}
}

func (w *compacted) files() []string {
	list, err := w.disk.List("/data/" + compactedTopic + "-0")
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return names
}

func (w *compacted) segments() int {
	n := 0
	for _, name := range w.files() {
		if strings.HasSuffix(name, ".log") {
			n++
		}
	}
	return n
}

// dropSnapshots makes the next start learn the producers from the batches.
func (w *compacted) dropSnapshots() {
	for _, e := range w.files() {
		if strings.HasSuffix(e, ".snapshot") {
			if err := w.disk.Remove("/data/" + compactedTopic + "-0/" + e); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func TestCompactionKeepsTheNewestRecords(t *testing.T) {
	var runs, dropped int64
	for seed := range seeds() {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := newCompacted(namedTB{t, seed}, seed, rng.IntN)
		w.lives(250)
		runs += w.runs
		dropped += w.end - int64(w.kept())
	}
	if runs < 100 || dropped < 1000 {
		t.Fatalf("only %d cleanings, which dropped %d records", runs, dropped)
	}
}

// kept counts the records that are left.
func (w *compacted) kept() int {
	n := 0
	for _, b := range w.batches() {
		n += int(b.Count())
	}
	return n
}

// drawnTB tells rapid of a failure, so that it looks for a shorter history and says which.
type drawnTB struct {
	testing.TB
	rt *rapid.T
}

func (t drawnTB) Fatal(args ...any)                 { t.rt.Fatal(args...) }
func (t drawnTB) Fatalf(format string, args ...any) { t.rt.Fatalf(format, args...) }

func TestCompactionModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		numbers := rapid.IntRange(0, 1<<20)
		w := newCompacted(drawnTB{t, rt}, 1, func(n int) int { return numbers.Draw(rt, "n") % n })
		w.lives(40)
	})
}

// TestTimesThatAPowerCutTook: where the end of a .timeindex is lost and that of the .index is not, what lies behind the last
// entry for a time is looked at again: a record with a greater time may be there.
func TestTimesThatAPowerCutTook(t *testing.T) {
	w := newCompacted(t, 1, func(int) int { return 1 })
	begin := w.hand.Now().UnixMilli()
	write := func(ts int64) int64 {
		b := record.NewBuilder(nil, record.Options{})
		b.Append(ts, []byte("key"), bytes.Repeat([]byte{'v'}, 150))
		data, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		a := w.append(data, commitlog.Client)
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		w.end = a.LastOffset + 1
		return a.BaseOffset
	}
	latest := int64(0)
	for i := range int64(12) {
		if write(begin + i); i == 8 {
			latest = write(begin + 1000)
		}
	}
	if err := w.store.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	w.hand.Kill()
	f, err := w.disk.Edit("/data/" + compactedTopic + "-0/00000000000000000000.timeindex")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(2*12), f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	w.disk.Crash()
	w.hand = clock.NewHand(2)
	w.open()
	for i := range int64(4) {
		write(begin + 100 + i)
	}
	place, found, err := w.log.OffsetForTimestamp(begin + 500)
	if err != nil || !found || place.Offset != latest {
		t.Fatalf("the record of the time is at %d, %+v was found (%v, %v)", latest, place, found, err)
	}
	w.hand.Kill()
}

// ready makes a log with much to clean and nothing under way.
func ready(t testing.TB, seed uint64) *compacted {
	rng := rand.New(rand.NewPCG(seed, 11))
	w := newCompacted(namedTB{t, seed}, seed, rng.IntN)
	w.cleaner.SetOptions(commitlog.CleanerOptions{BackoffMs: 1 << 40})
	for range 150 {
		if err := w.step(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.hand.Run()
	if err := w.store.Checkpoint(); err != nil {
		w.t.Fatal(err)
	}
	return w
}

func TestCrashAtEveryStepOfACompaction(t *testing.T) {
	for seed := range min(seeds(), 250) / 50 {
		for cut := int64(1); ; cut++ {
			w := ready(t, seed)
			w.disk.CutAt(cut)
			w.cleaner.Kick()
			w.hand.Run()
			dead := w.store.Failed() != nil
			w.hand.Kill()
			fates := []vfs.Fate{vfs.Mix, vfs.Lose, vfs.Keep}
			if f := w.pick(4); f < 3 {
				w.disk.PowerCut(fates[f])
			} else {
				w.disk.Crash()
			}
			for range w.pick(3) {
				w.dieWhileOpening()
			}
			w.hand = clock.NewHand(seed)
			w.hand.Advance(time.Hour)
			w.open()
			w.check()
			w.settle()
			w.check()
			w.checkCompact()
			if !dead && cut > 20 {
				break
			}
		}
	}
}

// dieWhileOpening starts, and loses the power before it is done.
func (w *compacted) dieWhileOpening() {
	w.hand = clock.NewHand(1)
	w.disk.CutAt(int64(1 + w.pick(60)))
	s, err := commitlog.Open(commitlog.StoreOptions{
		FS: w.disk.Mount(), Dir: "/data", World: w.hand, Logger: slog.New(slog.DiscardHandler), JournalFileBytes: 1 << 20,
		Config: func(string, int32) commitlog.LogConfig { return w.cfg },
	})
	if err == nil {
		s.Abandon()
	}
	w.hand.Kill()
	w.disk.PowerCut(vfs.Mix)
}

// fill appends plain batches, which the cleaner may have at once.
func (w *compacted) fill(n int) {
	w.t.Helper()
	for range n {
		if err := w.produce(nil, nil); err != nil {
			w.t.Fatal(err)
		}
	}
	w.hand.Run()
	if err := w.store.Checkpoint(); err != nil {
		w.t.Fatal(err)
	}
}

// plain is a world without surprises: the cleaner works when it is told to.
func plain(t testing.TB) *compacted {
	rng := rand.New(rand.NewPCG(1, 1))
	w := newCompacted(t, 1, rng.IntN)
	w.opts.DedupeBytes = 1 << 20
	w.cfg.Written = false
	w.opts.BackoffMs = 1 << 40
	w.cleaner.SetOptions(w.opts)
	w.log.SetConfig(w.cfg)
	return w
}

// TestSegmentsOfKafkaMayEndInAHole: Kafka's compaction drops the batch that ends a segment, and its crash must not cost the
// segments behind.
func TestSegmentsOfKafkaMayEndInAHole(t *testing.T) {
	w := plain(t)
	w.fill(200)
	w.cleaner.Kick()
	w.hand.Run()
	to := w.status().FirstDirty
	if to == 0 {
		t.Fatal("nothing was cleaned")
	}
	if err := w.store.CloseClean(1); err != nil {
		t.Fatal(err)
	}
	w.hand.Kill()
	path := "/data/" + compactedTopic + "-0/00000000000000000000.log"
	b, err := vfs.ReadFile(w.disk, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	keep, last := 0, 0
	for rest := b; len(rest) > 0; {
		e, more, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		last = keep
		keep += len(e)
		rest = more
	}
	f, err := w.disk.Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(last)), f.Sync(), f.Close(), w.disk.Remove("/data/.kafka_cleanshutdown"), w.disk.Remove("/data/recovery-point-offset-checkpoint")); err != nil {
		t.Fatal(err)
	}
	w.hand = clock.NewHand(1)
	w.open()
	if w.log.End() != w.end {
		t.Fatalf("the log ends at %d instead of %d: %v", w.log.End(), w.end, w.store.Report().Notes)
	}
}

func TestUncleanableLogLeavesOthersAlone(t *testing.T) {
	w := plain(t)
	other, err := w.store.Create("other", 0, clock.UUIDBits(w.hand), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.fill(100)
	first := w.log
	w.log = other
	w.end, w.records = 0, map[int64]*modelRecord{}
	w.fill(200)
	if err := w.disk.FlipBit("/data/"+compactedTopic+"-0/00000000000000000000.log", 400); err != nil {
		t.Fatal(err)
	}
	w.cleaner.Kick()
	w.hand.Run()
	status := w.store.Cleaner()
	if len(status.Logs) != 2 || !status.Enabled || status.Uncleanable != 1 || status.UncleanableBytes == 0 {
		t.Fatalf("%+v", status)
	}
	var corrupt *commitlog.CorruptError
	if bad := status.Logs[0]; bad.Topic != compactedTopic || !errors.As(bad.Err, &corrupt) || corrupt.Pos > 400 {
		t.Fatalf("%+v", bad)
	}
	if good := status.Logs[1]; good.Err != nil || good.Last.At == 0 || good.FirstDirty == 0 {
		t.Fatalf("%+v", good)
	}
	if first.Err() != nil || w.cleaner.Stats().Failed != 1 {
		t.Fatalf("%v, %+v", first.Err(), w.cleaner.Stats())
	}
	w.check()
	w.cleaner.Kick()
	w.hand.Run()
	if w.cleaner.Stats().Failed != 1 {
		t.Fatal("it is tried again and again")
	}
}

func TestThrottle(t *testing.T) {
	w := plain(t)
	w.fill(400)
	w.opts.MaxBytesPerSecond = 1000
	w.cleaner.SetOptions(w.opts)
	w.cleaner.Kick()
	seconds := 0
	for ; w.cleaner.Stats().Runs == 0 && seconds < 1000; seconds++ {
		w.hand.Advance(time.Second)
	}
	s := w.cleaner.Stats()
	if want := (s.BytesRead + s.BytesWritten) / 1000; int64(seconds) < want*8/10 || int64(seconds) > want*12/10 {
		t.Fatalf("%d bytes took %d seconds", s.BytesRead+s.BytesWritten, seconds)
	}
}

func TestTruncationAndDeletionEndACleaning(t *testing.T) {
	w := plain(t)
	w.opts.MaxBytesPerSecond = 500
	w.cleaner.SetOptions(w.opts)
	w.fill(300)
	w.cleaner.Kick()
	w.hand.Advance(2 * time.Second)
	if !w.status().Running {
		t.Fatal("the cleaning is over too soon")
	}
	at := w.batches()[150].BaseOffset()
	if err := w.log.Truncate(at); err != nil {
		t.Fatal(err)
	}
	w.hand.Advance(time.Hour)
	w.end = at
	for offset := range w.records {
		if offset >= at {
			delete(w.records, offset)
		}
	}
	w.check()
	if s := w.cleaner.Stats(); s.Aborted == 0 || s.Failed != 0 {
		t.Fatalf("%+v", s)
	}
	w.fill(100)
	w.cleaner.Kick()
	w.hand.Advance(2 * time.Second)
	if err := w.store.Delete(w.log); err != nil {
		t.Fatal(err)
	}
	w.hand.Advance(time.Hour)
	if s := w.cleaner.Stats(); s.Aborted < 2 || s.Failed != 0 || s.Workers != 0 {
		t.Fatalf("%+v", s)
	}
	if err := w.store.CloseClean(1); err != nil {
		t.Fatal(err)
	}
}

func TestLags(t *testing.T) {
	w := plain(t)
	w.cfg.MinCompactionLagMs = 60_000
	w.log.SetConfig(w.cfg)
	w.fill(200)
	if s := w.status(); s.Uncleanable != 0 || s.DirtyBytes != 0 {
		t.Fatalf("records that are too new may be cleaned: %+v", s)
	}
	w.hand.Advance(61 * time.Second)
	if s := w.status(); s.Uncleanable == 0 || s.DirtyBytes == 0 {
		t.Fatalf("records that are old enough may not be cleaned: %+v", s)
	}
	// With a ratio that is never reached, only the greatest lag counts.
	w.cfg.MinCompactionLagMs, w.cfg.MinCleanableRatio, w.cfg.MaxCompactionLagMs = 0, 1, 120_000
	w.log.SetConfig(w.cfg)
	w.cleaner.Kick()
	w.hand.Run()
	if w.cleaner.Stats().Runs != 0 {
		t.Fatal("cleaned without need")
	}
	w.hand.Advance(60 * time.Second)
	w.cleaner.Kick()
	w.hand.Run()
	if s := w.cleaner.Stats(); s.Runs != 1 || s.MaxDelayMs != 0 {
		t.Fatalf("%+v", s)
	}
	// The active segment does not outlast the lag.
	segments := w.segments()
	w.hand.Advance(121 * time.Second)
	w.fill(1)
	if w.segments() != segments+1 {
		t.Fatal("the active segment was not closed")
	}
	w.check()
}

func TestRetentionOfACompactedLog(t *testing.T) {
	w := plain(t)
	w.cfg.Delete, w.cfg.RetentionMs = true, 100_000
	w.log.SetConfig(w.cfg)
	w.fill(200)
	w.cleaner.Kick()
	w.hand.Run()
	w.hand.Advance(101 * time.Second)
	w.fill(5)
	w.store.Retain()
	w.hand.Run()
	if w.log.Start() == 0 {
		t.Fatal("nothing was deleted by time")
	}
	w.fill(100)
	w.cleaner.Kick()
	w.hand.Run()
	w.check()
	if s := w.status(); s.Err != nil || s.FirstDirty < w.log.Start() {
		t.Fatalf("%+v", s)
	}
}

func TestMovePausesCleaning(t *testing.T) {
	w := plain(t)
	other, err := commitlog.Open(commitlog.StoreOptions{FS: w.disk.Mount(), Dir: "/other", World: w.hand, Cleaner: w.cleaner, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	w.fill(100)
	w.cleaner.Kick()
	w.hand.Run()
	to := w.status().FirstDirty
	w.fill(100)
	m, err := w.log.MoveTo(other)
	if err != nil {
		t.Fatal(err)
	}
	w.cleaner.Kick()
	w.hand.Run()
	if w.cleaner.Stats().Runs != 1 {
		t.Fatal("a log that is being moved was cleaned")
	}
	m.Hold()
	l, err := m.Finish()
	if err != nil {
		t.Fatal(err)
	}
	m.Retire()
	m.Release()
	w.log, w.store = l, other
	if got := w.status().FirstDirty; got != to {
		t.Fatalf("cleaned up to %d before the move, %d after", to, got)
	}
	if err := w.store.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	w.cleaner.Kick()
	w.hand.Run()
	if w.cleaner.Stats().Runs != 2 {
		t.Fatal("after the move nothing is cleaned")
	}
	w.check()
	w.checkCompact()
}

func TestViewOutlivesCompaction(t *testing.T) {
	w := plain(t)
	w.fill(200)
	v, err := w.log.Read(0, w.log.Stable(), 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	before, err := v.Bytes(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.cleaner.Kick()
	w.hand.Run()
	w.hand.Advance(time.Minute)
	after, err := v.Bytes(nil)
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("a view changes under its reader: %v", err)
	}
	v.Release()
	if w.kept() == int(w.end) {
		t.Fatal("nothing was compacted")
	}
}
