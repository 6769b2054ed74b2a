package inspect

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// DumpOptions say how much Dump shows.
type DumpOptions struct {
	// Deep also shows the records of batches; those of internal topics are decoded.
	Deep bool
	// Offset leaves out batches, records and index entries below it.
	Offset int64
	// Count ends after so many batches (with Deep: records) or entries; 0 means all.
	Count int64
}

// Dump calls emit for each entry of a file, of a partition's directory (its segments), or of a data directory (its own
// files). Entries' bytes are valid during the call only. Bytes that cannot be read are an entry of kind "damage", and the dump
// goes on behind them. The error is emit's, or says why there is nothing to dump.
func Dump(fsys vfs.FS, path string, o DumpOptions, emit func(*Entry) error) error {
	d := &dumper{fs: fsys, o: o, emit: emit}
	st, err := fsys.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if st.Dir {
		err = d.directory(path)
	} else {
		err = d.file(path)
	}
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// dumper is one run of Dump.
type dumper struct {
	fs      vfs.FS
	o       DumpOptions
	emit    func(*Entry) error
	shown   int64
	scratch []byte
}

// directory dumps the segments in dir, or else what other files of ours are in it.
func (d *dumper) directory(dir string) error {
	list, err := d.fs.List(dir)
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	var segments, others []string
	for _, e := range list {
		path := filepath.Join(dir, e.Name)
		switch kind, _ := kindOf(path); {
		case e.Dir || kind == otherFile || kind == jsonFile && e.Size == 0:
		case kind == segmentFile:
			segments = append(segments, path)
		default:
			others = append(others, path)
		}
	}
	if len(segments)+len(others) == 0 {
		return fmt.Errorf("%s holds no file that can be dumped: give a partition's directory (TOPIC-N), a data directory, or a file", dir)
	}
	if len(segments) > 0 {
		return d.segments(segments)
	}
	for _, path := range others {
		if err := d.file(path); err != nil {
			return err
		}
	}
	return nil
}

// segments dumps the segments of a partition, but for those that lie below the offset.
func (d *dumper) segments(paths []string) error {
	for i, path := range paths {
		if i+1 < len(paths) {
			if _, next := kindOf(paths[i+1]); next <= d.o.Offset {
				continue
			}
		}
		if err := d.file(path); err != nil {
			return err
		}
	}
	return nil
}

// file dumps one file.
func (d *dumper) file(path string) error {
	kind, base := kindOf(path)
	switch kind {
	case otherFile:
		return fmt.Errorf("%s has no name that Kafka or Moldau gives its files, such as 00000000000000000000.log", path)
	case epochFile, topicIDFile, propertiesFile, offsetsFile, jsonFile:
		return d.text(path, kind)
	case journalFile:
		return d.journal(path)
	}
	r, err := newReader(d.fs, path)
	if err != nil {
		return err
	}
	defer r.close()
	switch kind {
	case segmentFile:
		topic, _, _ := parsePartition(filepath.Dir(path))
		return d.batches(path, r, contentOf(topic))
	case metadataSnapshotFile:
		return d.batches(path, r, metadataContent)
	case offsetIndexFile:
		return d.table(path, r, indexEntryBytes, "index", func(b []byte) (Fields, int64) {
			e := decodeIndexEntry(b, base)
			return e.fields(), e.offset
		})
	case timeIndexFile:
		return d.table(path, r, timeIndexEntryBytes, "timeindex", func(b []byte) (Fields, int64) {
			e := decodeTimeEntry(b, base)
			return e.fields(), e.offset
		})
	case txnIndexFile:
		return d.table(path, r, txnIndexEntryBytes, "txnindex", func(b []byte) (Fields, int64) {
			e := decodeTxnEntry(b)
			return e.fields(), e.last
		})
	default:
		return d.producers(path, r)
	}
}

// show emits an entry and counts it.
func (d *dumper) show(path string, pos int64, kind string, f Fields) error {
	if err := d.emit(&Entry{Path: path, Pos: pos, Kind: kind, Fields: f}); err != nil {
		return err
	}
	if d.shown++; d.shown == d.o.Count {
		return errStop
	}
	return nil
}

func (d *dumper) damage(path string, pos int64, what string) error {
	return d.emit(&Entry{Path: path, Pos: pos, Kind: "damage", Fields: Fields{{"error", what}}})
}

// table dumps entries of one size; zeros behind the last entry of a preallocated file are left out.
func (d *dumper) table(path string, r *reader, size int, kind string, decode func([]byte) (Fields, int64)) error {
	header := 0
	if kind == "producer" {
		header = producerHeaderBytes
	}
	left, err := eachEntry(r, header, size, func(pos int64, b []byte) error {
		if kind != "producer" && allZero(b) {
			return nil
		}
		f, offset := decode(b)
		if offset < d.o.Offset {
			return nil
		}
		return d.show(path, pos, kind, f)
	})
	if err == nil && left > 0 {
		err = d.damage(path, r.size-int64(left), fmt.Sprintf("%d bytes at the end are less than an entry", left))
	}
	return err
}

func (d *dumper) producers(path string, r *reader) error {
	if err := checkProducers(r); err != nil {
		if err := d.damage(path, 0, err.Error()); err != nil {
			return err
		}
	}
	return d.table(path, r, producerEntryBytes, "producer", func(b []byte) (Fields, int64) {
		return producerFields(b), d.o.Offset // producers have no order by offset
	})
}

func (d *dumper) text(path string, kind fileKind) error {
	name := map[fileKind]string{epochFile: "epoch", offsetsFile: "offset"}[kind]
	if name == "" {
		name = "property"
	}
	lines, err := parseText(d.fs, path, kind)
	if errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	for _, l := range lines {
		if err := d.show(path, int64(l.number), name, l.fields); err != nil {
			return err
		}
	}
	if err != nil {
		return d.damage(path, 0, err.Error())
	}
	return nil
}

// journal dumps the entries of all frames that lie in one file of the journal.
func (d *dumper) journal(path string) error {
	found, err := journal.Scan(d.fs, filepath.Dir(filepath.Dir(path)))
	if err != nil {
		return d.damage(path, 0, err.Error())
	}
	for i := range found.Items {
		item := &found.Items[i]
		if item.Path != path || item.End < d.o.Offset {
			continue
		}
		if err := d.show(path, item.Pos, "journal", journalFields(item)); err != nil {
			return err
		}
	}
	if found.Torn != "" {
		return d.damage(path, 0, found.Torn)
	}
	return nil
}

func journalFields(item *journal.Item) Fields {
	names := map[journal.Kind]string{
		journal.Data: "data", journal.Mark: "mark", journal.TruncateBegin: "truncate begin",
		journal.TruncateDone: "truncate done", journal.Reset: "reset",
	}
	return Fields{
		{"what", names[item.Kind]}, {"topicId", uuid(item.Topic)}, {"partition", item.Partition}, {"baseOffset", item.Base}, {"endOffset", item.End},
		{"leaderEpoch", item.LeaderEpoch}, {"bytes", item.Bytes}, {"damaged", item.Damaged},
	}
}

// batches dumps a segment or a snapshot of the metadata.
func (d *dumper) batches(path string, r *reader, c content) error {
	for {
		e, err := r.head()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !isDamage(err):
			return fmt.Errorf("reading %s at %d: %w", path, r.pos, err)
		case err != nil:
			at, ok, rerr := r.resync(r.pos, 0)
			if rerr != nil {
				return fmt.Errorf("reading %s behind %d: %w", path, r.pos, rerr)
			}
			if !ok {
				at = r.size
			}
			if err := d.damage(path, r.pos, fmt.Sprintf("%d bytes are no batch: %v", at-r.pos, err)); err != nil {
				return err
			}
			r.pos = at
			continue
		case e.LastOffset >= d.o.Offset:
			if err := d.batch(path, r, &e, c); err != nil {
				return err
			}
		}
		r.pos += int64(e.Size)
	}
}

func (d *dumper) batch(path string, r *reader, e *record.EntryInfo, c content) error {
	whole, err := r.entry(r.pos, e)
	if err != nil {
		return d.damage(path, r.pos, err.Error())
	}
	bad := record.CheckEntry(whole)
	entry := &Entry{Path: path, Pos: r.pos, Kind: "batch", Fields: batchFields(e, whole, bad)}
	if !d.o.Deep {
		return d.show(path, entry.Pos, entry.Kind, entry.Fields)
	}
	if err := d.emit(entry); err != nil || bad != nil {
		return err
	}
	it, err := record.IterateEntry(whole, &d.scratch, maxEntryBytes)
	if err != nil {
		return d.damage(path, r.pos, err.Error())
	}
	isControl := e.Magic == 2 && record.Batch(whole).IsControl()
	for {
		rec, ok := it.Next()
		if !ok {
			break
		}
		if rec.Offset < d.o.Offset {
			continue
		}
		if err := d.show(path, r.pos, "record", recordFields(&rec, isControl, c)); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return d.damage(path, r.pos, err.Error())
	}
	return nil
}

func batchFields(e *record.EntryInfo, whole []byte, bad error) Fields {
	f := Fields{{"baseOffset", e.BaseOffset}, {"lastOffset", e.LastOffset}, {"count", e.Count}, {"size", e.Size}, {"magic", e.Magic}}
	if e.BaseUnknown {
		f[0].Value = nil
	}
	f = append(f, Field{"codec", e.Codec.String()}, Field{"maxTimestamp", e.MaxTimestamp})
	if e.Magic == 2 {
		b := record.Batch(whole)
		f = append(f, Field{"leaderEpoch", b.LeaderEpoch()}, Field{"crc", fmt.Sprintf("%08x", b.CRC())})
		if b.ProducerID() != record.NoProducerID {
			f = append(f, Field{"producerId", b.ProducerID()}, Field{"producerEpoch", b.ProducerEpoch()}, Field{"baseSequence", b.BaseSequence()})
		}
		for _, flag := range []struct {
			name string
			set  bool
		}{{"transactional", b.IsTransactional()}, {"control", b.IsControl()}, {"deleteHorizon", b.HasDeleteHorizon()}, {"logAppendTime", e.TimestampType == record.LogAppendTime}} {
			if flag.set {
				f = append(f, Field{flag.name, true})
			}
		}
	}
	if bad != nil {
		f = append(f, Field{"error", bad.Error()})
	}
	return f
}

// recordFields are one record: decoded where the topic's records have a meaning, else key and value as they are.
func recordFields(r *record.Record, isControl bool, c content) Fields {
	f := Fields{{"offset", r.Offset}, {"timestamp", r.Timestamp}}
	var parts Fields
	var err error
	if isControl {
		parts, err = control(r)
	} else {
		parts, err = c.decoded(r)
	}
	if err == nil && parts != nil {
		return append(f, parts...)
	}
	f = append(f, Field{"key", orNull(r.Key)}, Field{"value", orNull(r.Value)})
	var headers Fields
	for {
		key, value, ok := r.Headers.Next()
		if !ok {
			break
		}
		headers = append(headers, Field{string(key), orNull(value)})
	}
	if headers != nil {
		f = append(f, Field{"headers", headers})
	}
	if err != nil {
		f = append(f, Field{"error", err.Error()})
	}
	return f
}

// orNull keeps null apart from empty.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
