package quorum

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

const (
	snapshotSuffix = ".checkpoint"
	partSuffix     = ".part"
	deletedSuffix  = ".deleted"
	// maxSnapshotBytes bounds what is read; 100,000 topics take about 15 MB.
	maxSnapshotBytes = 2 << 30
	// snapshotBatchRecords and snapshotBatchBytes bound a batch of a snapshot; Kafka takes 1,024 records and 8 MiB.
	snapshotBatchRecords = 1024
	snapshotBatchBytes   = 1 << 20
	// maxBatchBytes bounds a batch of the log, as Kafka's readers expect.
	maxBatchBytes = 8 << 20
)

// snapshotID names a snapshot: it holds everything below end, whose last record is of epoch. The zero one is
// what a format leaves.
type snapshotID struct {
	end   int64
	epoch int32
}

func (id snapshotID) name() string {
	return fmt.Sprintf("%020d-%010d%s", id.end, id.epoch, snapshotSuffix)
}

// parseSnapshot reads a file name.
func parseSnapshot(name string) (id snapshotID, ok bool) {
	base, found := strings.CutSuffix(name, snapshotSuffix)
	if !found || len(base) != 31 || base[20] != '-' {
		return id, false
	}
	end, err1 := strconv.ParseUint(base[:20], 10, 63)
	epoch, err2 := strconv.ParseUint(base[21:], 10, 31)
	return snapshotID{int64(end), int32(epoch)}, err1 == nil && err2 == nil
}

// snapshotFile is one that lies in the log's directory.
type snapshotFile struct {
	snapshotID
	bytes int64
}

// listSnapshots gives the snapshots, the oldest first, and removes what an interrupted writer or cleaner left.
func listSnapshots(fs vfs.FS, dir string) ([]snapshotFile, error) {
	entries, err := fs.List(dir)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for snapshots in %s: %w", dir, err)
	}
	var all []snapshotFile
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name, snapshotSuffix+partSuffix), strings.HasSuffix(e.Name, snapshotSuffix+deletedSuffix):
			if err := fs.Remove(filepath.Join(dir, e.Name)); err != nil {
				return nil, fmt.Errorf("removing an unfinished snapshot: %w", err)
			}
		default:
			if id, ok := parseSnapshot(e.Name); ok {
				all = append(all, snapshotFile{id, e.Size})
			}
		}
	}
	slices.SortFunc(all, func(a, b snapshotFile) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.epoch, b.epoch)) })
	return all, nil
}

// maxHeaderBytes is how much of a snapshot its first batch may take: header, version and voters.
const maxHeaderBytes = 64 << 10

// snapshotTime gives the time of the last record in a snapshot, as its header says.
func snapshotTime(fs vfs.FS, path string) (ms int64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("reading the header of snapshot %s: %w", path, err)
		}
	}()
	f, err := fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, maxHeaderBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	batch, _, err := record.Next(b[:n])
	if err != nil || batch == nil {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	it, err := batch.Iterate(nil, maxHeaderBytes)
	if err != nil {
		return 0, err
	}
	r, _ := it.Next()
	in := wire.NewReader(r.Value)
	var header wire.SnapshotHeaderRecord
	header.Decode(in, 0)
	return header.LastContainedLogTimestamp, in.Err()
}

// snapshot is what is written to one.
type snapshot struct {
	// timestampMs is that of the last record in it.
	timestampMs  int64
	kraftVersion int16
	voters       []wire.VotersRecordVoter // under kraft.version 1
	records      iter.Seq[wire.MetadataRecord]
	version      int16 // metadata.version, which decides the versions of the records
}

// write makes the snapshot durable under its name: batches of control records at both ends, the data between, offsets from 0.
func (s *snapshot) write(fs vfs.FS, dir, name string, now int64) (err error) {
	path := filepath.Join(dir, name)
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing snapshot %s: %w", path, err)
		}
	}()
	f, err := fs.Edit(path + partSuffix)
	if err != nil {
		return err
	}
	if err := s.fill(f, now); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(path+partSuffix, path); err != nil {
		return err
	}
	return fs.SyncDir(dir)
}

// fill writes the batches.
func (s *snapshot) fill(f vfs.File, now int64) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	w := snapshotWriter{file: f, now: now}
	w.begin(true)
	w.control(record.ControlSnapshotHeader, &wire.SnapshotHeaderRecord{LastContainedLogTimestamp: s.timestampMs})
	if s.kraftVersion >= 1 {
		w.control(record.ControlKRaftVersion, &wire.KRaftVersionRecord{KRaftVersion: s.kraftVersion})
		w.control(record.ControlKRaftVoters, &wire.VotersRecord{Voters: s.voters})
	}
	w.flush()
	if s.records != nil {
		w.begin(false)
		for rec := range s.records {
			w.value = metadata.AppendRecord(w.value[:0], rec, s.version)
			w.batch.Append(now, nil, w.value)
			if w.batch.Count() >= snapshotBatchRecords || w.batch.Size() >= snapshotBatchBytes {
				w.flush()
				w.begin(false)
			}
			if w.err != nil {
				return w.err
			}
		}
		w.flush()
	}
	w.begin(true)
	w.control(record.ControlSnapshotFooter, &wire.SnapshotFooterRecord{})
	w.flush()
	return w.err
}

// snapshotWriter writes batch after batch; the first error stays.
type snapshotWriter struct {
	file   vfs.File
	now    int64
	pos    int64
	offset int64
	buf    []byte
	value  []byte
	batch  *record.Builder
	err    error
}

func (w *snapshotWriter) begin(control bool) {
	w.batch = record.NewBuilder(w.buf[:0], record.Options{BaseOffset: w.offset, Control: control})
}

func (w *snapshotWriter) control(t record.ControlType, value wire.Record) {
	w.value = value.Append(w.value[:0], 0)
	w.batch.AppendControl(w.now, t, w.value)
}

func (w *snapshotWriter) flush() {
	if w.err != nil || w.batch.Count() == 0 {
		return
	}
	b, err := w.batch.Finish()
	if err == nil {
		_, err = w.file.WriteAt(b, w.pos)
	}
	w.err = err
	w.buf = b
	w.pos += int64(len(b))
	w.offset += int64(w.batch.Count())
}

// loaded is what was read from a snapshot or from the log.
type loaded struct {
	kraftVersion int16
	voters       []wire.VotersRecordVoter
	// timestampMs is that of the last batch.
	timestampMs int64
}

// take reads one batch: control records into l, metadata records to the caller, who gets what the batch has
// at once because a batch takes effect as a whole.
func (l *loaded) take(b record.Batch, apply func(records []wire.MetadataRecord, b record.Batch) error) error {
	if err := b.CheckCRC(); err != nil {
		return err
	}
	it, err := b.Iterate(nil, maxBatchBytes)
	if err != nil {
		return err
	}
	l.timestampMs = b.MaxTimestamp()
	var records []wire.MetadataRecord
	for {
		r, ok := it.Next()
		if !ok {
			break
		}
		if b.IsControl() {
			if err := l.control(&r); err != nil {
				return fmt.Errorf("control record at offset %d: %w", r.Offset, err)
			}
			continue
		}
		rec, _, err := wire.DecodeMetadataRecord(r.Value)
		if err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		records = append(records, rec)
	}
	if err := it.Err(); err != nil {
		return err
	}
	return apply(records, b)
}

func (l *loaded) control(r *record.Record) error {
	t, err := record.ParseControlType(r.Key)
	if err != nil {
		return err
	}
	in := wire.NewReader(r.Value)
	switch t {
	case record.ControlKRaftVersion:
		var v wire.KRaftVersionRecord
		v.Decode(in, 0)
		l.kraftVersion = v.KRaftVersion
	case record.ControlKRaftVoters:
		var v wire.VotersRecord
		v.Decode(in, 0)
		l.voters = v.Voters
	default: // leader changes, headers and footers say nothing that is needed here
	}
	return in.Err()
}

// readSnapshot reads a whole snapshot into an image at the snapshot's end; one without a footer is not whole.
func readSnapshot(fs vfs.FS, path string, id snapshotID) (*metadata.Image, loaded, error) {
	var l loaded
	fail := func(err error) (*metadata.Image, loaded, error) {
		return nil, l, fmt.Errorf("reading snapshot %s: %w", path, err)
	}
	b, err := vfs.ReadFile(fs, path, maxSnapshotBytes)
	if err != nil {
		return fail(err)
	}
	d := metadata.Empty().Edit()
	footer := false
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if err != nil {
			return fail(err)
		}
		b = rest
		err = l.take(batch, func(records []wire.MetadataRecord, _ record.Batch) error {
			for _, rec := range records {
				if err := d.Apply(rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fail(err)
		}
		footer = batch.IsControl() && batch.BaseOffset() > 0
	}
	if !footer {
		return fail(io.ErrUnexpectedEOF)
	}
	image, err := d.Finish(id.end-1, id.epoch)
	if err != nil {
		return fail(err)
	}
	return image, l, nil
}
