package quorum

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
)

const (
	// replayChunk is how much of the log is read at a time.
	replayChunk = 4 << 20
	// replayRecords is how many records make one image on the way: each image costs something.
	replayRecords = 16 << 10
)

// load reads the newest whole snapshot and the log above it.
func (q *Quorum) load() error {
	image, err := q.loadSnapshot()
	if err != nil {
		return err
	}
	q.machine = controller.New(image)
	if err := q.replay(image.Offset() + 1); err != nil {
		return fmt.Errorf("replaying the metadata log %s: %w", q.dir, err)
	}
	q.image.Store(q.machine.Image())
	q.next = q.log.Stable()
	q.highWater.Store(q.next)
	if q.next == 0 {
		return q.loadBootstrap()
	}
	return nil
}

// loadBootstrap reads what the log of a new cluster begins with: what the format put into the first snapshot
// (Kafka from 4.4 on) or into a file of its own (before), else the defaults.
func (q *Quorum) loadBootstrap() error {
	image := q.Image()
	if image.MetadataVersion() == 0 {
		path := filepath.Join(q.o.Store.Dir(), bootstrapFile)
		var err error
		image, _, err = readSnapshot(q.o.FS, path, snapshotID{})
		if errors.Is(err, vfs.ErrNotExist) {
			q.bootstrap = slices.Collect(bootstrapRecords(0, nil, nil))
			return nil
		}
		if err != nil {
			return err
		}
	}
	q.bootstrap = slices.Collect(image.Records())
	return nil
}

// loadSnapshot gives the newest snapshot's image, or the next older one's where that is damaged and the log still
// reaches back to it. With none the log must begin at 0.
func (q *Quorum) loadSnapshot() (*metadata.Image, error) {
	files, err := listSnapshots(q.o.FS, q.dir)
	if err != nil {
		return nil, err
	}
	q.retention.snapshots = files
	var damaged error
	for _, file := range slices.Backward(files) {
		id := file.snapshotID
		if id.end < q.log.Start() {
			break // the log does not continue it
		}
		image, l, err := readSnapshot(q.o.FS, filepath.Join(q.dir, id.name()), id)
		if err != nil {
			q.o.Logger.Warn("a metadata snapshot is damaged; trying the one before", "error", err)
			damaged = errors.Join(damaged, err)
			continue
		}
		if end := q.log.Stable(); end < id.end {
			return nil, fmt.Errorf("the metadata log %s ends at offset %d, before its newest snapshot (%s): "+
				"restore the log, or delete its segments so that it begins with the snapshot", q.dir, end, id.name())
		}
		q.loaded = l
		q.retention.last = id
		return image, nil
	}
	if q.log.Start() > 0 {
		return nil, errors.Join(fmt.Errorf("the metadata log %s begins at offset %d and has no whole snapshot to continue: restore one", q.dir, q.log.Start()), damaged)
	}
	if damaged != nil && q.log.Stable() == 0 {
		return nil, fmt.Errorf("the metadata log %s is empty and its snapshot is damaged: restore it, or format a new directory: %w", q.dir, damaged)
	}
	return metadata.Empty(), nil
}

// replay applies the log from an offset to its end.
func (q *Quorum) replay(offset int64) error {
	end := q.log.Stable()
	if offset > end {
		return nil
	}
	var held []wire.MetadataRecord
	last, epoch := offset-1, q.machine.Image().Epoch()
	flush := func() error {
		_, err := q.machine.Apply(held, last, epoch)
		held = nil
		return err
	}
	take := func(records []wire.MetadataRecord, b record.Batch) error {
		held = append(held, records...)
		last, epoch = b.LastOffset(), b.LeaderEpoch()
		if len(held) >= replayRecords {
			return flush()
		}
		return nil
	}
	for offset < end {
		b, err := q.read(offset, end)
		if err != nil {
			return err
		}
		for len(b) > 0 {
			batch, rest, err := record.Next(b)
			if err != nil && !errors.Is(err, record.ErrShort) {
				return fmt.Errorf("batch at or after offset %d: %w", offset, err)
			}
			if batch == nil || err != nil {
				break
			}
			b = rest
			if batch.LastOffset() < offset {
				continue
			}
			if err := q.loaded.take(batch, take); err != nil {
				return fmt.Errorf("batch at offset %d: %w", batch.BaseOffset(), err)
			}
			q.retention.bytes += int64(len(batch))
			offset = batch.LastOffset() + 1
		}
	}
	return flush()
}

// read gives bytes of the log that begin with the batch that holds offset, at least that one.
func (q *Quorum) read(offset, end int64) ([]byte, error) {
	v, err := q.log.Read(offset, end, replayChunk, true)
	if err != nil {
		return nil, fmt.Errorf("reading at offset %d: %w", offset, err)
	}
	defer v.Release()
	// The records keep views of the bytes, which Bytes copied for them.
	b, err := v.Bytes(nil)
	if err == nil && len(b) == 0 {
		err = fmt.Errorf("there is nothing, though the log ends at %d", end)
	}
	if err != nil {
		return nil, fmt.Errorf("reading at offset %d: %w", offset, err)
	}
	return b, nil
}
