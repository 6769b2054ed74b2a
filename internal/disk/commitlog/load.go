package commitlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// Suffixes of partition directories that are not logs of this broker.
const (
	deleteDirSuffix = "-delete"
	futureDirSuffix = "-future"
	strayDirSuffix  = "-stray"
)

// damageFile keeps a partition offline until somebody has looked after it: it says why.
const damageFile = "moldau-damage"

// maxSmallFile bounds the small files of a partition directory.
const maxSmallFile = 64 << 20

// load reads the directory: see the package documentation for the order.
func (s *Store) load() error {
	if err := s.readMarker(); err != nil {
		return err
	}
	found, err := journal.Scan(s.fs, s.dir)
	if err != nil {
		return fmt.Errorf("reading the journal of %s: %w", s.dir, err)
	}
	if found.Torn != "" {
		s.note("the last write to the journal was cut off by the crash and is dropped, nothing of it was acknowledged: %s", found.Torn)
	}
	if err := found.Sync(s.fs); err != nil {
		return fmt.Errorf("reading the journal of %s: %w", s.dir, err)
	}
	s.journal = journal.New(s.fs, s.dir, s.opts.JournalFileBytes, found, s.world.Uint64())
	s.published.Store(found.Next - 1)
	entries, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("listing data directory %s: %w", s.dir, err)
	}
	loads := s.plans(entries, found)
	if err := s.runLoads(loads); err != nil {
		return err
	}
	s.adopt(loads)
	s.files.closeIdle()
	if found.Exists {
		for _, d := range loads {
			if d.cutShort {
				// The journal still says that the truncation is under way: it must not cut what comes next.
				return s.checkpoint()
			}
		}
		if len(s.dirty) > 0 {
			s.kickCheckpoint()
			return nil
		}
		return s.journal.Release(s.published.Load())
	}
	return nil
}

// readMarker reads and removes the clean-shutdown marker: durably, before anything else is changed.
func (s *Store) readMarker() error {
	s.report.BrokerEpoch = -1
	path := filepath.Join(s.dir, cleanMarker)
	b, err := vfs.ReadFile(s.fs, path, maxSmallFile)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	s.report.Clean = true
	var m struct{ BrokerEpoch *int64 }
	if json.Unmarshal(b, &m) == nil && m.BrokerEpoch != nil {
		s.report.BrokerEpoch = *m.BrokerEpoch
	}
	if err := s.fs.Remove(path); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return s.fs.SyncDir(s.dir)
}

// logLoad is the loading of one log.
type logLoad struct {
	log      *Log
	clean    bool
	ours     bool // the directory was left by this program: its checkpoints are exact
	point    int64
	logStart int64
	// journaled is what the journal has, of all logs; items is this one's part.
	journaled map[itemKey][]journal.Item
	items     []journal.Item
	files     []vfs.Entry
	notes     []string
	cutShort  bool  // an interrupted truncation was finished
	err       error // the log is offline
	fatal     error // the store is
}

// plans lists the logs to be loaded.
func (s *Store) plans(entries []vfs.Entry, found *journal.Found) []*logLoad {
	points := s.readCheckpoint(recoveryPointFile)
	starts := s.readCheckpoint(logStartFile)
	marks := s.readCheckpoint(highWatermarkFile)
	cleaned := s.readCheckpoint(cleanedFile)
	s.hasCleaned = cleaned != nil
	s.noteDeparted(points)
	s.noteDeparted(starts)
	s.noteDeparted(marks)
	s.noteDeparted(cleaned)
	byKey := map[itemKey][]journal.Item{}
	for _, it := range found.Items {
		k := itemKey{it.Topic, it.Partition}
		byKey[k] = append(byKey[k], it)
	}
	var loads []*logLoad
	for _, e := range entries {
		topic, partition, ok := parseDirName(e.Name)
		if !e.Dir || !ok {
			s.skip(e)
			continue
		}
		key := logKey{topic, partition}
		l := s.newLog(topic, partition, [16]byte{}, s.opts.Config(topic, partition))
		l.loadedHW, l.savedPoint = marks[key], points[key]
		if to, ok := cleaned[key]; ok {
			l.clean.to = to
		}
		if _, ok := points[key]; !ok && !s.report.Clean {
			s.names.add(l) // the process before may have been killed before its directory was durable
		}
		loads = append(loads, &logLoad{
			log: l, clean: s.report.Clean && !found.Exists, ours: found.Exists, point: points[key], logStart: starts[key],
			journaled: byKey,
		})
	}
	return loads
}

// itemKey is what the journal knows a log by.
type itemKey struct {
	topic     [16]byte
	partition int32
}

// skip deals with a name that is no log.
func (s *Store) skip(e vfs.Entry) {
	switch {
	case !e.Dir || e.Name == journal.Folder:
	case strings.HasSuffix(e.Name, deleteDirSuffix):
		s.removeLater(filepath.Join(s.dir, e.Name), 0)
	case strings.HasSuffix(e.Name, futureDirSuffix):
		s.leftFutures = append(s.leftFutures, e.Name)
	case strings.HasSuffix(e.Name, strayDirSuffix):
		s.note("%s is left alone", filepath.Join(s.dir, e.Name))
	}
}

// parseDirName splits a directory name into topic and partition.
func parseDirName(name string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return "", 0, false
	}
	p, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || p < 0 || name[i+1] == '+' {
		return "", 0, false
	}
	return name[:i], int32(p), true
}

// readTopicID reads partition.metadata, which old directories do not have.
func (l *Log) readTopicID(s *Store) {
	b, err := vfs.ReadFile(s.fs, l.path(metadataFile), maxSmallFile)
	if err == nil {
		l.topicID, err = parseTopicID(b)
	}
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		s.note("%s cannot be read: %v", l.path(metadataFile), err)
	}
}

// runLoads loads the logs on RecoveryThreads threads. The caller's is one of
// them and leaves nothing behind, so the others need not come to run, as in simulation.
func (s *Store) runLoads(loads []*logLoad) error {
	var next atomic.Int64
	var wait sync.WaitGroup
	wait.Add(len(loads))
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(loads)); i = next.Add(1) - 1 {
			loads[i].run()
			wait.Done()
		}
	}
	for range min(s.opts.RecoveryThreads, len(loads)) - 1 {
		s.world.Go("load logs", work)
	}
	work()
	wait.Wait()
	for _, d := range loads {
		if d.fatal != nil {
			return fmt.Errorf("loading %s: %w", d.log.dir, d.fatal)
		}
	}
	return nil
}

// noteDeparted notes what a checkpoint file says of logs that are not there.
func (s *Store) noteDeparted(lines map[logKey]int64) {
	for key := range lines {
		s.departed[key] = true
	}
}

// adopt takes the loaded logs into the store.
func (s *Store) adopt(loads []*logLoad) {
	for _, d := range loads {
		l := d.log
		s.report.Notes = append(s.report.Notes, d.notes...)
		if d.err != nil {
			l.err = d.err
			if s.report.Offline == nil {
				s.report.Offline = map[string]error{}
			}
			s.report.Offline[dirName(l.topic, l.partition)] = d.err
		}
		key := logKey{l.topic, l.partition}
		s.logs[key] = l
		delete(s.departed, key)
	}
}

// run loads the log.
func (d *logLoad) run() {
	err := d.load()
	if err == nil {
		return
	}
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		d.takeOffline(corrupt)
		return
	}
	d.fatal = err
}

// note adds to what Report tells.
func (d *logLoad) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// load brings the log from its files to where it was.
func (d *logLoad) load() error {
	l := d.log
	var err error
	if d.files, err = l.store.fs.List(l.dir); err != nil {
		return err
	}
	if d.has(metadataFile) {
		l.readTopicID(l.store)
	}
	d.items, d.journaled = d.journaled[itemKey{l.key(), l.partition}], nil
	if err := d.checkDamage(); err != nil {
		return err
	}
	if err := d.cleanFiles(); err != nil {
		return err
	}
	if err := d.openSegments(); err != nil {
		return err
	}
	d.readEpochs()
	first := l.segs[0].base
	l.start = max(first, d.logStart)
	if d.clean {
		err = d.trust()
	} else {
		err = d.recover()
	}
	if err != nil {
		return err
	}
	if l.end < l.start {
		if err := d.beginAtStart(); err != nil {
			return err
		}
	}
	l.stable = l.end
	l.epochs.truncateEnd(l.end)
	l.epochs.truncateStart(l.start)
	if l.loadedHW > l.end {
		l.loadedHW = l.end
	}
	l.savedPoint = min(l.savedPoint, l.recoveryPoint)
	l.resetPlan()
	for _, s := range l.segs {
		if s.size > 0 && (!s.idx.made || len(s.idx.newOffsets)+len(s.idx.newTimes) > 0) {
			l.store.noteDirty(l, false)
			break
		}
	}
	return d.restoreProducers()
}

// beginAtStart gives an empty log to a log that lost everything up to its log start, as Kafka does: what was
// deleted does not come back.
func (d *logLoad) beginAtStart() error {
	l := d.log
	d.note("%s ends at offset %d, below its log start %d: it begins there, empty", l.dir, l.end, l.start)
	for _, s := range l.segs {
		if err := l.removeFiles(s); err != nil {
			return err
		}
	}
	s := newSegment(l.dir, l.start, l.store.nowMs())
	l.segs = []*segment{s}
	l.end, l.recoveryPoint = l.start, l.start
	if _, err := l.openSegment(s); err != nil {
		return err
	}
	l.store.noteDirty(l, false)
	return l.syncSegment(s)
}

// find looks for a file of the directory.
func (d *logLoad) find(name string) (vfs.Entry, bool) {
	i, ok := slices.BinarySearchFunc(d.files, name, func(e vfs.Entry, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return vfs.Entry{}, false
	}
	return d.files[i], true
}

// has tells whether the directory has a file of that name.
func (d *logLoad) has(name string) bool {
	_, ok := d.find(name)
	return ok
}

// wholeEntries tells whether the directory has an index of that name which is not torn.
func (d *logLoad) wholeEntries(name string, entry int64) bool {
	e, ok := d.find(name)
	return ok && e.Size%entry == 0
}

// isEmpty tells whether the directory was listed with a file of that name that has no bytes.
func (d *logLoad) isEmpty(path string) bool {
	e, ok := d.find(filepath.Base(path))
	return ok && e.Size == 0
}

// checkDamage keeps a log offline that was found damaged before.
func (d *logLoad) checkDamage() error {
	path := d.log.path(damageFile)
	if !d.has(damageFile) {
		return nil
	}
	b, err := vfs.ReadFile(d.log.store.fs, path, maxSmallFile)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return &CorruptError{Path: path, Why: "an earlier start found: " + strings.TrimSpace(string(b)) + "; repair it and delete this file"}
}

// takeOffline keeps the log from being served, now and at later starts, and what the journal has of it beside it.
func (d *logLoad) takeOffline(why *CorruptError) {
	l := d.log
	d.err = fmt.Errorf("%s-%d is offline: %w", l.topic, l.partition, why)
	if len(l.segs) == 0 {
		l.segs = []*segment{newSegment(l.dir, 0, l.store.nowMs())}
	}
	l.recoveryPoint, l.loadedHW = d.point, max(l.loadedHW, 0)
	if filepath.Base(why.Path) == damageFile {
		return
	}
	if err := d.rescue(); err != nil {
		d.fatal = err
		return
	}
	text := fmt.Sprintf("%s is corrupt at position %d: %s\n", why.Path, why.Pos, why.Why)
	if err := vfs.WriteFileAtomic(l.store.fs, l.path(damageFile), []byte(text)); err != nil {
		d.fatal = err
	}
}

// rescueFile holds the batches that the journal had of a damaged log.
const rescueFile = "moldau-rescue"

// rescue keeps what the journal has of the log: the journal's space will be used again.
func (d *logLoad) rescue() error {
	if len(d.items) == 0 {
		return nil
	}
	l := d.log
	f, err := l.store.fs.Edit(l.path(rescueFile))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // synced before
	var at int64
	for i := range d.items {
		if d.items[i].Kind != journal.Data {
			continue
		}
		b, err := d.payload(&d.items[i])
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	if err := f.Truncate(at); err != nil {
		return err
	}
	return errors.Join(f.Sync(), l.store.fs.SyncDir(l.dir))
}

// readEpochs reads leader-epoch-checkpoint.
func (d *logLoad) readEpochs() {
	l := d.log
	if !d.has(epochsFile) {
		return
	}
	b, err := vfs.ReadFile(l.store.fs, l.path(epochsFile), maxSmallFile)
	if err == nil {
		l.epochs.list, err = parseEpochs(b)
	}
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		d.note("%s is damaged, leader epochs are known from the recovery point on only: %v", l.path(epochsFile), err)
	}
}

// openSegments makes the list of segments from the directory's files.
func (d *logLoad) openSegments() error {
	l := d.log
	now := l.store.nowMs()
	for _, e := range d.files {
		base, suffix, ok := parseName(e.Name)
		if !ok || suffix != logSuffix {
			continue
		}
		s := newSegment(l.dir, base, now)
		s.size, s.flushed, s.named, s.timesKnown = e.Size, e.Size, d.clean, false
		s.createdMs = e.ModTimeMs
		s.verified.trusted = e.Size
		s.idx.writtenOffsets, s.idx.writtenTimes, s.idx.made, s.idx.synced = unknown, unknown, true, true
		s.aborts = noAborts
		name := offsetName(base)
		if d.has(name + txnIndexSuffix) {
			s.aborts = someAborts
		}
		if e.Size > 0 && !(d.wholeEntries(name+indexSuffix, offsetEntryBytes) && d.wholeEntries(name+timeIndexSuffix, timeEntryBytes)) {
			s.idx.made = false
		}
		l.segs = append(l.segs, s)
	}
	if len(l.segs) == 0 {
		// As Kafka does: an empty directory begins at its log start.
		s := newSegment(l.dir, d.logStart, now)
		l.segs = []*segment{s}
		return nil
	}
	sort.Slice(l.segs, func(a, b int) bool { return l.segs[a].base < l.segs[b].base })
	return nil
}

// cleanFiles removes what an interrupted deletion or compaction left, finishes swaps, and drops indexes without a segment.
func (d *logLoad) cleanFiles() error {
	l := d.log
	fsys := l.store.fs
	smallestCleaned := int64(-1)
	for _, e := range d.files {
		if base, suffix, ok := parseName(e.Name); ok && strings.HasSuffix(suffix, cleanedSuffix) && (smallestCleaned < 0 || base < smallestCleaned) {
			smallestCleaned = base
		}
	}
	var kept, swaps, stale, unfinished []vfs.Entry
	for _, e := range d.files {
		base, suffix, ok := parseName(e.Name)
		switch {
		case ok && strings.HasSuffix(suffix, cleanedSuffix):
			unfinished = append(unfinished, e)
		case strings.HasSuffix(e.Name, deletedSuffix), strings.HasSuffix(e.Name, ".tmp"),
			ok && strings.HasSuffix(suffix, swapSuffix) && smallestCleaned >= 0 && base >= smallestCleaned:
			stale = append(stale, e)
		case ok && strings.HasSuffix(suffix, swapSuffix):
			swaps = append(swaps, e)
		default:
			kept = append(kept, e)
		}
	}
	// A .swap file counts as finished once there is no .cleaned file: those go last. Neither may what was renamed to .deleted come
	// back under its old name, once the checkpoints say that it is gone.
	for _, list := range [][]vfs.Entry{stale, unfinished} {
		for _, e := range list {
			if err := fsys.Remove(l.path(e.Name)); err != nil {
				return err
			}
		}
		if len(list) > 0 {
			if err := fsys.SyncDir(l.dir); err != nil {
				return err
			}
		}
	}
	d.files = kept
	if len(swaps) > 0 {
		if err := d.finishSwaps(swaps); err != nil {
			return err
		}
	}
	return d.dropOrphans()
}

// finishSwaps puts finished output of a compaction into the place of the segments that it replaces.
func (d *logLoad) finishSwaps(swaps []vfs.Entry) error {
	l := d.log
	fsys := l.store.fs
	for _, e := range swaps {
		base, suffix, _ := parseName(e.Name)
		if suffix != logSuffix+swapSuffix {
			continue
		}
		next, err := d.swapEnd(l.path(e.Name), e.Size, base)
		if err != nil {
			return err
		}
		for _, k := range d.files {
			b, sfx, ok := parseName(k.Name)
			if ok && b >= base && b < next && (sfx == logSuffix || sfx == indexSuffix || sfx == timeIndexSuffix || sfx == txnIndexSuffix) {
				if err := fsys.Remove(l.path(k.Name)); err != nil {
					return err
				}
			}
		}
		d.note("%s replaces the segments from %d to %d: an interrupted compaction was finished", l.path(e.Name), base, next)
	}
	// If a new name outlived what it replaces, both would be taken for parts of the log.
	if err := fsys.SyncDir(l.dir); err != nil {
		return err
	}
	for _, e := range swaps {
		if err := fsys.Rename(l.path(e.Name), l.path(strings.TrimSuffix(e.Name, swapSuffix))); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(l.dir); err != nil {
		return err
	}
	var err error
	d.files, err = fsys.List(l.dir)
	return err
}

// swapEnd is the offset behind the last batch of a .swap file.
func (d *logLoad) swapEnd(path string, size, base int64) (int64, error) {
	f, err := d.log.store.fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // read only
	end := base + 1
	_, _, err = walk(f, 0, size, func(_ int64, e *record.EntryInfo, _ []byte) bool {
		end = e.LastOffset + 1
		return false
	})
	return end, err
}

// dropOrphans removes index files whose segment is gone.
func (d *logLoad) dropOrphans() error {
	logs := map[int64]bool{}
	for _, e := range d.files {
		if base, suffix, ok := parseName(e.Name); ok && suffix == logSuffix {
			logs[base] = true
		}
	}
	kept := d.files[:0]
	for _, e := range d.files {
		base, suffix, ok := parseName(e.Name)
		if ok && !logs[base] && (suffix == indexSuffix || suffix == timeIndexSuffix || suffix == txnIndexSuffix) {
			if err := d.log.store.fs.Remove(d.log.path(e.Name)); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, e)
	}
	d.files = kept
	return nil
}
