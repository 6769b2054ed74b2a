package commitlog

import (
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/format/record"
)

// cleanable is how dirty a log is.
type cleanable struct {
	log *Log
	gen uint64
	cfg LogConfig
	// first is the first offset that was not cleaned, upper the base of the first segment that cannot be; segs are those below.
	first, upper int64
	segs         []*segment
	sizes        []int64 // of segs, which are not written to any more

	cleanBytes, dirtyBytes int64
	ratio                  float64
	delayMs                int64 // how long records wait beyond max.compaction.lag.ms
	due                    bool
}

// cleanable tells how dirty the log is, nil if it is not to be cleaned or is being cleaned.
func (l *Log) cleanable() (*cleanable, error) {
	l.mu.Lock()
	c := &l.clean
	ok := l.cfg.Compact && l.err == nil && !l.gone && !l.held.on && l.held.to == nil && c.paused == 0 && c.job == nil && c.err == nil
	l.mu.Unlock()
	if !ok {
		return nil, nil
	}
	return l.dirtiness()
}

// dirtiness tells how dirty a compacted log is, as Kafka's LogCleanerManager; nil for an empty one.
func (l *Log) dirtiness() (*cleanable, error) {
	l.mu.Lock()
	d := &cleanable{log: l, gen: l.clean.gen, cfg: l.cfg, first: l.clean.to}
	if d.first < l.start || d.first > l.end {
		d.first = l.start
	}
	limit := l.highWatermark()
	if first, open := l.producers.FirstUnstableOffset(); open {
		limit = min(limit, first)
	}
	// What recovery may have to compare with the journal must stay as it is.
	limit = min(limit, l.savedPoint, l.active().base)
	segs := l.segs
	l.mu.Unlock()
	if lag := d.cfg.MinCompactionLagMs; lag > 0 {
		newest := l.store.nowMs() - lag
		for i, s := range segs[:len(segs)-1] {
			if segs[i+1].base <= d.first {
				continue
			}
			ts, err := l.largestTime(s)
			if err != nil {
				return nil, err
			}
			if ts > newest {
				limit = min(limit, s.base)
				break
			}
		}
	}
	d.bound(segs, max(limit, d.first))
	if err := d.weigh(segs); err != nil {
		return nil, err
	}
	if d.cleanBytes+d.dirtyBytes == 0 {
		return nil, nil
	}
	d.ratio = float64(d.dirtyBytes) / float64(d.cleanBytes+d.dirtyBytes)
	d.due = d.delayMs > 0 && d.dirtyBytes > 0 || d.ratio > d.cfg.MinCleanableRatio
	return d, nil
}

// bound takes the segments wholly below the limit.
func (d *cleanable) bound(segs []*segment, limit int64) {
	n := len(segs) - 1
	for n > 0 && segs[n].base > limit {
		n--
	}
	d.upper, d.segs = segs[n].base, segs[:n:n]
}

// weigh adds up what was cleaned and what was not, and looks how long the latter waits.
func (d *cleanable) weigh(segs []*segment) error {
	l := d.log
	oldest := int64(math.MaxInt64)
	d.sizes = make([]int64, len(d.segs))
	l.mu.Lock()
	for i, s := range d.segs {
		d.sizes[i] = s.flushed
	}
	l.mu.Unlock()
	for i, s := range d.segs {
		size := d.sizes[i]
		if s.base < d.first {
			d.cleanBytes += size
		}
		// The segment that holds the first dirty offset counts as both, as in Kafka.
		if segs[i+1].base <= d.first || d.first >= d.upper {
			continue
		}
		d.dirtyBytes += size
		if d.cfg.MaxCompactionLagMs == math.MaxInt64 {
			continue
		}
		ts, err := d.firstTime(s)
		if err != nil {
			return err
		}
		if ts > 0 {
			oldest = min(oldest, ts)
		}
	}
	if until := l.store.nowMs() - d.cfg.MaxCompactionLagMs; oldest < until {
		d.delayMs = until - oldest
	}
	return nil
}

// firstTime is the greatest timestamp of the segment's first batch, noTime when it has none.
func (d *cleanable) firstTime(s *segment) (int64, error) {
	l := d.log
	l.mu.Lock()
	ts, end := s.firstTs, s.flushed
	l.mu.Unlock()
	if ts != noTime || end == 0 {
		return ts, nil
	}
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return 0, fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	defer s.log.release()
	at, e, err := walk(f, 0, end, func(int64, *record.EntryInfo, []byte) bool { return true })
	if err != nil {
		return 0, &CorruptError{Path: s.log.path, Pos: max(at, 0), Why: err.Error()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.firstTs = e.MaxTimestamp
	return s.firstTs, nil
}

// pauseCleaning gives up a cleaning under way, and lets none begin until resumeCleaning: what is copied elsewhere in pieces must
// not lose a tombstone between two of them.
func (l *Log) pauseCleaning() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clean.paused++
	l.clean.gen++
}

func (l *Log) resumeCleaning() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clean.paused--
}
