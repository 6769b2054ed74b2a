package share

import (
	"errors"
	"io"
	"sync"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
	"github.com/moldau/moldau/internal/node/partition"
)

// maxBatches bounds how many batches one acquisition looks at.
const maxBatches = 16_384

// peekBytes is how much of a file is read at once to see the heads of batches.
const peekBytes = 4 << 10

var peeks = sync.Pool{New: func() any { return new([peekBytes]byte) }}

// reader takes records of one partition for one fetch. The share partition's reading lock is held.
type reader struct {
	f     *Fetch
	sp    *sharePartition
	r     *Result
	share int // bytes that this partition should not go beyond

	from, limit int64
	view        commitlog.View
	heads       []head
	records     int
}

// head is where a batch lies in the view.
type head struct {
	at, size int
	old      bool
}

// run reads from where the machine wants to go on, has it acquire, and keeps of the view what it acquired.
func (q *reader) run() {
	sp := q.sp
	if !q.position() {
		return
	}
	log := sp.part.Log()
	var err error
	q.view, err = log.Read(q.from, q.limit, q.share, true)
	if err == nil && q.view.Len > 0 && q.f.bytes > 0 && q.f.bytes+q.view.Len > q.f.MaxBytes && q.view.Len > q.share {
		q.view.Release() // its first batch alone is too large for what is left
		return
	}
	if err == nil && q.view.Len > 0 {
		err = q.peek()
	}
	if err == nil {
		err = q.acquire(log)
	}
	if err != nil {
		q.fail(err)
	}
}

// position asks the machine where to go on; what the log has no more is given up.
func (q *reader) position() bool {
	sp := q.sp
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if !sp.ready(q.f.settings) {
		return false
	}
	if q.from = sp.m.NextFetch(); q.from < sp.part.Log().Start() {
		sp.m.MoveLogStart(sp.part.Log().Start())
		if !sp.ready(q.f.settings) {
			return false
		}
		q.from = sp.m.NextFetch()
	}
	q.limit = sp.limit(q.f.settings)
	return true
}

// fail answers for a log that cannot be read. Records that are gone are none to tell of.
func (q *reader) fail(err error) {
	q.view.Release()
	if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		q.sp.mu.Lock()
		q.sp.m.MoveLogStart(q.sp.part.Log().Start())
		q.sp.mu.Unlock()
		return
	}
	q.f.broken = true
	q.r.Code = partition.Code(err)
	var corrupt *commitlog.CorruptError
	var bad *record.Error
	if errors.As(err, &corrupt) || errors.As(err, &bad) {
		q.r.Code = wire.CorruptMessage
	}
	q.sp.d.o.Logger.Error("a share fetch could not read its records", "group", q.sp.group.id, "topic", q.sp.part.Topic,
		"partition", q.sp.key.index, "offset", q.from, "error", err)
}

// peek lists the whole batches of the view, as far as they can matter.
func (q *reader) peek() error {
	f := q.f
	f.batches, q.heads = f.batches[:0], f.heads[:0]
	reach := int64(-1)
	err := eachHead(&q.view, func(at int, e *record.EntryInfo, b []byte) bool {
		if at+e.Size > q.view.Len || len(f.batches) >= maxBatches {
			return false
		}
		m := machine.Batch{Range: machine.Range{First: e.BaseOffset, Last: e.LastOffset}, ProducerID: record.NoProducerID}
		old := e.Magic < 2
		if n := len(f.batches); e.BaseUnknown {
			m.First = q.from
			if n > 0 {
				m.First = f.batches[n-1].Last + 1
			}
		}
		if !old {
			m.ProducerID, m.Transactional = record.Batch(b).ProducerID(), record.Batch(b).IsTransactional()
		}
		f.batches = append(f.batches, m)
		q.heads = append(q.heads, head{at, e.Size, old})
		if reach < 0 {
			q.sp.mu.Lock()
			reach = q.sp.m.Reach(m.First, f.MaxRecords-f.records)
			q.sp.mu.Unlock()
		}
		return m.Last < reach
	})
	f.heads = q.heads
	return err
}

// eachHead calls f with the head of each entry of a view, of which at least what PeekHeader needs is there, until it says no.
func eachHead(v *commitlog.View, f func(at int, e *record.EntryInfo, b []byte) bool) error {
	if v.File == nil {
		for at := 0; at < len(v.Mem); {
			e, err := record.PeekHeader(v.Mem[at:])
			if errors.Is(err, record.ErrShort) {
				return nil
			}
			if err != nil || !f(at, &e, v.Mem[at:]) {
				return err
			}
			at += e.Size
		}
		return nil
	}
	buf := peeks.Get().(*[peekBytes]byte)
	defer peeks.Put(buf)
	var have []byte
	from := 0
	for at := 0; at < v.Len; {
		if have == nil || at-from+record.PeekSize > len(have) {
			n, err := v.File.ReadAt(buf[:min(peekBytes, v.Len-at)], v.Pos+int64(at))
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			have, from = buf[:n], at
		}
		e, err := record.PeekHeader(have[at-from:])
		if errors.Is(err, record.ErrShort) {
			return nil
		}
		if err != nil || !f(at, &e, have[at-from:]) {
			return err
		}
		at += e.Size
	}
	return nil
}

// acquire has the machine take what was read, and cuts the view to it.
func (q *reader) acquire(log *commitlog.Log) error {
	f, sp := q.f, q.sp
	a := machine.Acquisition{
		Member: f.session.member, Mode: f.Mode, BatchSize: f.BatchSize, MaxRecords: f.MaxRecords - f.records,
		Offset: q.from, Now: sp.d.now(),
	}
	if q.view.Len > 0 {
		a.Batches = f.batches
		if f.settings.Committed {
			var err error
			if a.Aborted, err = q.aborted(log); err != nil {
				return err
			}
		}
	}
	had := len(f.acquired)
	sp.mu.Lock()
	f.acquired, q.records = sp.m.Acquire(&a, &f.settings.Limits, f.acquired)
	if q.records == 0 && sp.m.NextFetch() == q.from {
		sp.barren, sp.barrenEnd = q.from, q.limit
	}
	sp.arm()
	sp.mu.Unlock()
	q.r.from, q.r.to = had, len(f.acquired)
	if q.records == 0 {
		q.view.Release()
		return nil
	}
	q.cut(f.acquired[had].First, f.acquired[len(f.acquired)-1].Last)
	q.r.View = q.view
	return nil
}

// cut makes the view those batches that have something of a range.
func (q *reader) cut(first, last int64) {
	i, n := 0, len(q.f.batches)
	for i < n-1 && q.f.batches[i].Last < first {
		i++
	}
	k := i
	for k < n-1 && q.f.batches[k+1].First <= last {
		k++
	}
	from, to := q.heads[i].at, q.heads[k].at+q.heads[k].size
	if q.view.File == nil {
		q.view.Mem = q.view.Mem[from:to:to]
	}
	q.view.Pos += int64(from)
	q.view.Len = to - from
}

// aborted lists the aborted transactions that matter to what was read, and finds their ends among it.
func (q *reader) aborted(log *commitlog.Log) ([]machine.Aborted, error) {
	batches := q.f.batches
	if len(batches) == 0 {
		return nil, nil
	}
	txns, err := log.AbortedTxns(q.from, batches[len(batches)-1].Last+1)
	if err != nil || len(txns) == 0 {
		return nil, err
	}
	list := make([]machine.Aborted, 0, len(txns))
	for i := range txns {
		list = append(list, machine.Aborted{ProducerID: txns[i].ProducerID, First: txns[i].FirstOffset})
	}
	for i, h := range q.heads {
		if h.old || !batches[i].Transactional {
			continue
		}
		if batches[i].AbortMarker, err = q.marker(h); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// marker tells whether the batch is the marker of an aborted transaction.
func (q *reader) marker(h head) (bool, error) {
	b := make([]byte, h.size)
	if q.view.File == nil {
		b = q.view.Mem[h.at : h.at+h.size]
	} else if _, err := q.view.File.ReadAt(b[:record.HeaderSize], q.view.Pos+int64(h.at)); err != nil {
		return false, err
	}
	if !record.Batch(b).IsControl() {
		return false, nil
	}
	if q.view.File != nil {
		if _, err := q.view.File.ReadAt(b, q.view.Pos+int64(h.at)); err != nil {
			return false, err
		}
	}
	m, ok, err := record.Batch(b).EndTxnMarker()
	return ok && !m.Commit, err
}
