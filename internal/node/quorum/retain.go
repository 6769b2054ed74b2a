package quorum

import (
	"path/filepath"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// stopSnapshotBytes is how much log makes a snapshot worth its time when the node stops.
const stopSnapshotBytes = 1 << 20

// retention is what the quorum knows of its snapshots. The fields are guarded by Quorum.mu.
type retention struct {
	snapshots []snapshotFile // the oldest first
	last      snapshotID     // the newest whole one
	bytes     int64          // of log since then
	writing   bool
	timer     clock.Timer
	waiting   []func() // called when no snapshot is being written
}

// scheduleSnapshot makes a snapshot when the last one is an interval old (metadata.log.max.snapshot.interval.ms).
func (q *Quorum) scheduleSnapshot() {
	ms := q.o.Config.GetLong("metadata.log.max.snapshot.interval.ms")
	if ms <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.retention.timer = q.o.World.AfterFunc(time.Duration(ms)*time.Millisecond, func() {
		q.mu.Lock()
		running, some := q.running, q.retention.bytes > 0
		q.mu.Unlock()
		if !running {
			return
		}
		if some {
			q.beginSnapshot()
		}
		q.scheduleSnapshot()
	})
}

// maybeSnapshot makes a snapshot when enough was written (metadata.log.max.record.bytes.between.snapshots).
func (q *Quorum) maybeSnapshot() {
	q.mu.Lock()
	due := q.running && q.retention.bytes >= q.o.Config.GetLong("metadata.log.max.record.bytes.between.snapshots")
	q.mu.Unlock()
	if due {
		q.beginSnapshot()
	}
}

// finishSnapshots ends the snapshots: one more if much was written, then done.
func (q *Quorum) finishSnapshots(done func()) {
	q.mu.Lock()
	if q.retention.timer != nil {
		q.retention.timer.Stop()
	}
	due := q.err == nil && q.retention.bytes >= stopSnapshotBytes
	q.mu.Unlock()
	if due {
		q.beginSnapshot()
	}
	q.mu.Lock()
	if q.retention.writing {
		q.retention.waiting = append(q.retention.waiting, done)
		done = func() {}
	}
	q.mu.Unlock()
	done()
}

// beginSnapshot writes the committed image in the background, and cleans up behind it.
func (q *Quorum) beginSnapshot() {
	q.mu.Lock()
	image := q.Image()
	id := snapshotID{image.Offset() + 1, image.Epoch()}
	if q.retention.writing || id.end <= q.retention.last.end || q.machine.InTransaction() {
		q.mu.Unlock()
		return
	}
	q.retention.writing = true
	q.retention.bytes = 0
	s := &snapshot{
		timestampMs: q.loaded.timestampMs, kraftVersion: q.loaded.kraftVersion, voters: q.loaded.voters,
		records: image.Records(), version: image.MetadataVersion(),
	}
	q.mu.Unlock()
	q.o.World.Go("metadata snapshot", func() { q.writeSnapshot(s, id) })
}

func (q *Quorum) writeSnapshot(s *snapshot, id snapshotID) {
	err := s.write(q.o.FS, q.dir, id.name(), clock.Millis(q.o.World.Now()))
	var files []snapshotFile
	if err == nil {
		files, err = listSnapshots(q.o.FS, q.dir)
	}
	if err == nil {
		files = q.clean(files)
	} else {
		// The log still has everything; the next attempt comes when as much again was written.
		q.o.Logger.Warn("writing a metadata snapshot failed", "error", err)
	}
	q.mu.Lock()
	if err == nil {
		q.retention.last, q.retention.snapshots = id, files
	}
	q.retention.writing = false
	waiting := q.retention.waiting
	q.retention.waiting = nil
	q.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// clean removes the oldest snapshots, and the log below the next ones, while log and snapshots together are
// above metadata.max.retention.bytes or the oldest is older than metadata.max.retention.ms; the newest stays, as in
// Kafka.
func (q *Quorum) clean(files []snapshotFile) []snapshotFile {
	maxBytes, maxMs := q.o.Config.GetLong("metadata.max.retention.bytes"), q.o.Config.GetLong("metadata.max.retention.ms")
	total := q.log.Size()
	for _, f := range files {
		total += f.bytes
	}
	now := clock.Millis(q.o.World.Now())
	for len(files) > 1 {
		oldest, next := files[0], files[1]
		large := maxBytes >= 0 && total > maxBytes
		written, err := snapshotTime(q.o.FS, filepath.Join(q.dir, oldest.name()))
		if err != nil {
			q.o.Logger.Warn("an old metadata snapshot is damaged; deleting it", "error", err)
		}
		old := err != nil || maxMs >= 0 && now-written > maxMs
		if !large && !old {
			break
		}
		// First the log: a snapshot that the log does not continue is of no use, the reverse is.
		if err := q.log.DeleteRecords(next.end); err != nil {
			q.o.Logger.Warn("deleting old metadata failed", "error", err)
			break
		}
		if err := q.o.FS.Remove(filepath.Join(q.dir, oldest.name())); err != nil {
			q.o.Logger.Warn("deleting an old metadata snapshot failed", "error", err)
			break
		}
		total -= oldest.bytes
		files = files[1:]
	}
	return files
}
