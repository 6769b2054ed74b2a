package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/record"
)

// audience is consumers that wait at the end of a topic.
type audience struct {
	tails  []*tail
	wg     sync.WaitGroup
	errs   []error // by consumer
	failed atomic.Bool
}

// gather starts consumers at the present end of the topic and returns when all of them wait there.
func gather(t *topic, n int, seen func(partition int32, batch record.Batch, at time.Time)) (*audience, error) {
	ends, err := t.ends()
	if err != nil {
		return nil, err
	}
	a := &audience{errs: make([]error, n)}
	for i := range n {
		f := &tail{topic: t, offsets: slices.Clone(ends), seen: seen}
		a.tails = append(a.tails, f)
		a.wg.Go(func() {
			if a.errs[i] = f.run(); a.errs[i] != nil {
				a.failed.Store(true)
			}
		})
	}
	// A consumer's first fetch finds nothing and is answered after the longest wait; the next one stands then.
	err = a.until(func(f *tail) bool { return f.requests.Load() > 0 })
	if err != nil {
		return nil, errors.Join(err, a.leave(0))
	}
	return a, nil
}

// until waits for something to hold for every consumer.
func (a *audience) until(holds func(*tail) bool) error {
	return eventually(callTimeout, pollPause, func() error {
		if a.failed.Load() {
			return &finalError{errors.New("a consumer has failed")}
		}
		for i, f := range a.tails {
			if !holds(f) {
				return fmt.Errorf("consumer %d has read only %d records in %d requests", i, f.records.Load(), f.requests.Load())
			}
		}
		return nil
	})
}

// leave waits until every consumer has read as many records and ends them.
func (a *audience) leave(records int64) error {
	err := a.until(func(f *tail) bool { return f.records.Load() >= records })
	for _, f := range a.tails {
		f.stopping.Store(true)
	}
	a.wg.Wait()
	if failed := errors.Join(a.errs...); failed != nil {
		return failed
	}
	return err
}
