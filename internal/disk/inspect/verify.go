package inspect

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// Problem is something wrong with a file.
type Problem struct {
	// Path is the file or directory, Pos the byte, -1 for all of it.
	Path string `json:"path"`
	Pos  int64  `json:"position"`
	// What is the matter, and what to Do about it.
	What string `json:"what"`
	Do   string `json:"do"`
	// Notice says that a crash leaves such things and that the next start puts them right.
	Notice bool `json:"notice"`
}

// VerifyOptions say how Verify goes about it.
type VerifyOptions struct {
	// Deep also unpacks every batch and reads its records; those of internal topics are decoded.
	Deep bool
	// Report is called for each problem, in the order of the files. Required.
	Report func(Problem) error
	// Progress, if any, is called often with the bytes read and to be read.
	Progress func(done, total int64)
}

// Summary counts what Verify has looked at.
type Summary struct {
	Partitions int   `json:"partitions"`
	Files      int   `json:"files"`
	Batches    int64 `json:"batches"`
	Records    int64 `json:"records"`
	Bytes      int64 `json:"bytes"`
	Problems   int   `json:"problems"`
	Notices    int   `json:"notices"`
}

// maxProblemsPerFile bounds what is told of one file: a file of noise has nothing more to say.
const maxProblemsPerFile = 50

// unknownEnd stands for the end of a file that the disk does not give.
const unknownEnd = math.MaxInt64

// What to do about the kinds of problems.
const (
	doRestore = "nothing repairs this by itself: restore the partition from a replica or a backup, or copy what is whole with a consumer and delete the topic"
	doRebuild = "stop the node, remove the file and start the node: it is built again from the log"
	doStart   = "nothing to do: the directory was not stopped cleanly, or is in use; the next start puts it right"
	doText    = "stop the node and put the file right, or restore it from a backup"
	doRead    = "see what the disk and the system's log say, and the file's owner and permissions"
)

// verifier is one run of Verify.
type verifier struct {
	fs          vfs.FS
	o           VerifyOptions
	sum         Summary
	total       int64
	told        map[string]int
	scratch     []byte
	damagedFrom int64 // of the file that is read: the last bytes that were no batch
	damagedTo   int64
}

// Verify checks a file, a partition's directory or a data directory. The error is that of Report, or says why there is
// nothing to check.
func Verify(fsys vfs.FS, path string, o VerifyOptions) (Summary, error) {
	v := &verifier{fs: fsys, o: o, told: map[string]int{}}
	st, err := fsys.Stat(path)
	if err != nil {
		return v.sum, fmt.Errorf("looking at %s: %w", path, err)
	}
	if !st.Dir {
		kind, _ := kindOf(path)
		if kind == otherFile {
			return v.sum, fmt.Errorf("%s has no name that Kafka or Moldau gives its files, such as 00000000000000000000.log", path)
		}
		v.total = st.Size
		return v.sum, v.single(path)
	}
	list, err := fsys.List(path)
	if err != nil {
		return v.sum, fmt.Errorf("listing %s: %w", path, err)
	}
	if holdsPartition(path, list) {
		v.total = sizeOf(list)
		return v.sum, v.partition(v.surroundings(filepath.Dir(path)), path, list)
	}
	return v.sum, v.dataDirectory(path, list)
}

func sizeOf(list []vfs.Entry) int64 {
	sum := int64(0)
	for _, e := range list {
		sum += e.Size
	}
	return sum
}

// holdsPartition tells a partition's directory from others.
func holdsPartition(dir string, list []vfs.Entry) bool {
	if _, _, ok := parsePartition(dir); !ok {
		return false
	}
	for _, e := range list {
		switch kind, _ := kindOf(filepath.Join(dir, e.Name)); kind {
		case segmentFile, topicIDFile, epochFile:
			return true
		case otherFile:
		}
	}
	return false
}

// surroundings is what a data directory says about its partitions.
type surroundings struct {
	clean    bool
	known    bool             // there are recovery points
	recovery map[string]int64 // by TOPIC-N
}

func (v *verifier) surroundings(dir string) surroundings {
	s := surroundings{recovery: map[string]int64{}}
	_, err := v.fs.Stat(filepath.Join(dir, cleanMarker))
	s.clean = err == nil
	lines, err := parseText(v.fs, filepath.Join(dir, "recovery-point-offset-checkpoint"), offsetsFile)
	s.known = err == nil
	for _, l := range lines {
		s.recovery[fmt.Sprintf("%s-%d", l.fields[0].Value, l.fields[1].Value)] = l.fields[2].Value.(int64)
	}
	return s
}

// unfinishedFrom is the offset of a partition from which on a crash may have left torn writes.
func (s *surroundings) unfinishedFrom(dir string, lastBase int64) int64 {
	switch {
	case s.clean:
		return math.MaxInt64
	case s.known:
		return s.recovery[filepath.Base(dir)] // a partition that is younger than the checkpoint is not in it
	default:
		return lastBase
	}
}

// dataDirectory checks all that is in it.
func (v *verifier) dataDirectory(dir string, list []vfs.Entry) error {
	type part struct {
		dir  string
		list []vfs.Entry
	}
	var parts []part
	var files []string
	hasJournal := false
	for _, e := range list {
		path := filepath.Join(dir, e.Name)
		kind, _ := kindOf(path)
		switch {
		case e.Dir && e.Name == journal.Folder:
			hasJournal = true
		case e.Dir:
			inner, err := v.fs.List(path)
			if err == nil && holdsPartition(path, inner) {
				parts = append(parts, part{path, inner})
				v.total += sizeOf(inner)
			}
		case kind != otherFile && !(kind == jsonFile && e.Size == 0):
			files = append(files, path)
			v.total += e.Size
		}
	}
	if len(parts)+len(files) == 0 {
		return fmt.Errorf("%s is no data directory: give one that log.dirs names, a partition's directory (TOPIC-N) in it, or a file", dir)
	}
	for _, path := range files {
		if err := v.single(path); err != nil {
			return err
		}
	}
	s := v.surroundings(dir)
	if hasJournal {
		if err := v.journal(dir); err != nil {
			return err
		}
	}
	for _, p := range parts {
		if err := v.partition(s, p.dir, p.list); err != nil {
			return err
		}
	}
	return nil
}

// journal checks the frames of the journal.
func (v *verifier) journal(dir string) error {
	v.sum.Files++
	found, err := journal.Scan(v.fs, dir)
	folder := filepath.Join(dir, journal.Folder)
	if err != nil {
		return v.report(Problem{Path: folder, Pos: -1, What: err.Error(), Do: "the partitions that were written last may lack records that were acknowledged: restore them from replicas or a backup"})
	}
	if found.Torn != "" {
		if err := v.report(Problem{Path: folder, Pos: -1, What: found.Torn, Do: doStart, Notice: true}); err != nil {
			return err
		}
	}
	for i := range found.Items {
		if item := &found.Items[i]; item.Damaged {
			what := fmt.Sprintf("offsets %d to %d of partition %d of topic %s are not what was written", item.Base, item.End-1, item.Partition, uuid(item.Topic))
			if err := v.report(Problem{Path: item.Path, Pos: item.Pos, What: what, Do: doRestore}); err != nil {
				return err
			}
		}
	}
	return nil
}

// report tells of a problem, unless there are too many of the same file.
func (v *verifier) report(p Problem) error {
	v.told[p.Path]++
	if p.Notice {
		v.sum.Notices++
	} else {
		v.sum.Problems++
	}
	switch n := v.told[p.Path]; {
	case n == maxProblemsPerFile:
		p.What += fmt.Sprintf(" (%d of this file are told, and no more)", n)
	case n > maxProblemsPerFile:
		return nil
	}
	return v.o.Report(p)
}

// passed counts bytes that have been looked at.
func (v *verifier) passed(n int64) {
	v.sum.Bytes += n
	if v.o.Progress != nil {
		v.o.Progress(v.sum.Bytes, v.total)
	}
}

// single checks a file by itself.
func (v *verifier) single(path string) error {
	kind, base := kindOf(path)
	switch kind {
	case segmentFile:
		topic, _, _ := parsePartition(filepath.Dir(path))
		_, err := v.segment(&segmentCheck{log: path, base: base, next: math.MaxInt64, unfinished: math.MaxInt64, content: contentOf(topic)})
		return err
	case metadataSnapshotFile:
		return v.snapshot(path)
	case offsetIndexFile, timeIndexFile:
		return v.sorted(path, kind, base)
	case txnIndexFile:
		return v.transactions(path)
	case producerFile:
		return v.producers(path)
	case journalFile:
		return v.journal(filepath.Dir(filepath.Dir(path)))
	default:
		return v.text(path, kind)
	}
}

// unreadable turns an error of the disk into a problem.
func (v *verifier) unreadable(path string, pos int64, err error) error {
	return v.report(Problem{Path: path, Pos: pos, What: err.Error(), Do: doRead})
}

// text checks a small file of text.
func (v *verifier) text(path string, kind fileKind) error {
	v.sum.Files++
	lines, err := parseText(v.fs, path, kind)
	if err != nil {
		do := doText
		if kind == epochFile || kind == offsetsFile {
			do = "stop the node, remove the file and start the node: it is made anew"
		}
		return v.report(Problem{Path: path, Pos: -1, What: err.Error(), Do: do})
	}
	if kind != epochFile {
		return nil
	}
	for i := 1; i < len(lines); i++ {
		a, b := lines[i-1].fields, lines[i].fields
		if a[0].Value.(int64) >= b[0].Value.(int64) || a[1].Value.(int64) > b[1].Value.(int64) {
			what := fmt.Sprintf("line %d: epoch %d from offset %d does not follow epoch %d from offset %d", lines[i].number, b[0].Value, b[1].Value, a[0].Value, a[1].Value)
			if err := v.report(Problem{Path: path, Pos: -1, What: what, Do: "stop the node, remove the file and start the node: it is made anew from the batches"}); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshot checks a snapshot of the metadata log: whole batches between a header and a footer.
func (v *verifier) snapshot(path string) error {
	r, err := newReader(v.fs, path)
	if err != nil {
		return v.unreadable(path, -1, err)
	}
	defer r.close()
	v.sum.Files++
	first, last := "", ""
	err = v.batches(r, path, 0, math.MaxInt64, func(_ int64, e *record.EntryInfo, whole []byte) error {
		it, err := record.IterateEntry(whole, &v.scratch, maxEntryBytes)
		if err != nil {
			return v.report(Problem{Path: path, Pos: r.pos, What: err.Error(), Do: doRestore})
		}
		isControl := e.Magic == 2 && record.Batch(whole).IsControl()
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			v.sum.Records++
			last = "a record"
			var f Fields
			if isControl {
				f, err = control(&rec)
				if err == nil {
					last, _ = f[0].Value.(string)
				}
			} else {
				_, err = metadataContent.decoded(&rec)
			}
			if first == "" {
				first = last
			}
			if err != nil {
				if err := v.report(Problem{Path: path, Pos: r.pos, What: fmt.Sprintf("record %d cannot be decoded: %v", rec.Offset, err), Do: doRestore}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || filepath.Base(path) == "bootstrap.checkpoint" && first == "" {
		return err
	}
	if first != "SNAPSHOT_HEADER" || last != "SNAPSHOT_FOOTER" {
		return v.report(Problem{Path: path, Pos: -1, What: "the snapshot does not begin with a header and end with a footer: it was not written to its end", Do: "stop the node and remove the file if an older snapshot or the whole log is there"})
	}
	return nil
}

// transactions checks a .txnindex file.
func (v *verifier) transactions(path string) error {
	return v.table(path, txnIndexEntryBytes, func() func(int64, []byte) string {
		last := int64(-1)
		return func(_ int64, b []byte) string {
			e := decodeTxnEntry(b)
			defer func() { last = e.last }()
			switch {
			case e.version != 0:
				return fmt.Sprintf("its version is %d, and only 0 is known", e.version)
			case e.first > e.last || e.first < 0:
				return fmt.Sprintf("a transaction goes from offset %d to %d", e.first, e.last)
			case e.last <= last:
				return fmt.Sprintf("a transaction that ends at %d stands behind one that ends at %d", e.last, last)
			}
			return ""
		}
	}())
}

// sorted checks the order of an index without its log.
func (v *verifier) sorted(path string, kind fileKind, base int64) error {
	size, check := indexEntryBytes, orderOfIndex(base)
	if kind == timeIndexFile {
		size, check = timeIndexEntryBytes, orderOfTimeIndex(base)
	}
	return v.table(path, size, check)
}

// table checks each entry of a binary table; check says what is wrong with one.
func (v *verifier) table(path string, size int, check func(pos int64, b []byte) string) error {
	r, err := newReader(v.fs, path)
	if err != nil {
		return v.unreadable(path, -1, err)
	}
	defer r.close()
	v.sum.Files++
	v.passed(r.size)
	var told error
	left, err := eachEntry(r, 0, size, func(pos int64, b []byte) error {
		if what := check(pos, b); what != "" {
			told = v.report(Problem{Path: path, Pos: pos, What: what, Do: doRebuild})
		}
		return told
	})
	switch {
	case told != nil:
		return told
	case err != nil:
		return v.unreadable(path, r.pos, err)
	case left > 0:
		return v.report(Problem{Path: path, Pos: r.size - int64(left), What: fmt.Sprintf("%d bytes at the end are less than an entry", left), Do: doRebuild})
	}
	return nil
}

// producers checks a producer snapshot.
func (v *verifier) producers(path string) error {
	r, err := newReader(v.fs, path)
	if err != nil {
		return v.unreadable(path, -1, err)
	}
	defer r.close()
	v.sum.Files++
	v.passed(r.size)
	if err := checkProducers(r); err != nil {
		return v.report(Problem{Path: path, Pos: -1, What: "the producer snapshot is damaged: " + err.Error(), Do: doRebuild})
	}
	return nil
}

// batches calls f for every whole batch of a file, tells of what is between them, and passes on the error of f.
func (v *verifier) batches(r *reader, path string, next, unfinished int64, f func(next int64, e *record.EntryInfo, whole []byte) error) error {
	v.damagedFrom, v.damagedTo = 0, 0
	for {
		e, err := r.head()
		var whole []byte
		if err == nil {
			if whole, err = r.entry(r.pos, &e); err == nil {
				err = record.CheckEntry(whole)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			v.sum.Batches++
			if err := f(next, &e, whole); err != nil {
				return err
			}
			next = max(next, e.LastOffset+1)
			r.pos += int64(e.Size)
			v.passed(int64(e.Size))
		case isDamage(err):
			if err := v.damaged(r, path, next, unfinished, err); err != nil {
				return err
			}
		default:
			v.damagedFrom, v.damagedTo = r.pos, unknownEnd
			return v.unreadable(path, r.pos, err)
		}
	}
}

// damaged tells of bytes that are no batch and moves behind them.
func (v *verifier) damaged(r *reader, path string, next, unfinished int64, bad error) error {
	at, ok, err := r.resync(r.pos, next)
	if err != nil {
		v.damagedFrom, v.damagedTo = r.pos, unknownEnd
		r.pos = r.size
		return v.unreadable(path, r.pos, err)
	}
	if !ok {
		at = r.size
	}
	p := Problem{Path: path, Pos: r.pos, Notice: next >= unfinished, Do: doRestore}
	switch {
	case ok:
		e, err := r.headAt(at)
		if err != nil {
			return v.unreadable(path, at, err)
		}
		p.What = fmt.Sprintf("%d bytes are no whole batch (%v); the next whole one is at byte %d and begins with offset %d, offset %d was expected", at-r.pos, bad, at, e.BaseOffset, next)
	default:
		p.What = fmt.Sprintf("the last %d bytes are no whole batch (%v); offset %d is the first that is missing", at-r.pos, bad, next)
	}
	if p.Notice {
		p.Do = doStart
	}
	v.passed(at - r.pos)
	v.damagedFrom, v.damagedTo = r.pos, at
	r.pos = at
	return v.report(p)
}
