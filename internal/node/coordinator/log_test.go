package coordinator

import (
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// memoryLog is a partition in memory. Appends wait for commit, unless auto is set.
type memoryLog struct {
	batches []record.Batch
	start   int64
	end     int64
	high    int64
	auto    bool
	waiting []func(error)
	readErr error
	max     int // batches a Read gives at most, 0 for all
	reads   int
}

func (l *memoryLog) Start() int64         { return l.start }
func (l *memoryLog) End() int64           { return l.end }
func (l *memoryLog) HighWatermark() int64 { return l.high }

func (l *memoryLog) Append(batch []byte, done func(int64, error)) {
	b := record.Batch(batch)
	settle := func(err error) {
		if err != nil {
			done(-1, err)
			return
		}
		b.SetBaseOffset(l.end)
		l.end += int64(b.Count())
		l.batches, l.high = append(l.batches, b), l.end
		done(b.BaseOffset(), nil)
	}
	if l.auto {
		settle(nil)
		return
	}
	l.waiting = append(l.waiting, settle)
}

// settle ends the oldest append that waits.
func (l *memoryLog) settle(err error) {
	next := l.waiting[0]
	l.waiting = l.waiting[1:]
	next(err)
}

func (l *memoryLog) Read(from int64, _ []byte) (batches []byte, next int64, err error) {
	l.reads++
	next = from
	if l.readErr != nil {
		return nil, from, l.readErr
	}
	n := 0
	for _, b := range l.batches {
		if b.LastOffset() < from || b.LastOffset() >= l.high || l.max > 0 && n == l.max {
			continue
		}
		n++
		batches, next = append(batches, b...), b.LastOffset()+1
	}
	return batches, next, nil
}

// load fills the log with the batches of a segment.
func (l *memoryLog) load(segment []byte) error {
	for len(segment) > 0 {
		b, rest, err := record.Next(segment)
		if err != nil {
			return err
		}
		l.batches, segment = append(l.batches, b), rest
		l.end = b.LastOffset() + 1
	}
	l.high = l.end
	return nil
}

var errStorage = wire.KafkaStorageError
