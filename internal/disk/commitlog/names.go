package commitlog

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// names makes the directories of new logs durable behind their creation, so that a topic of many partitions does not wait
// for a sync or two of each: what lacks its directory after a crash has never acknowledged anything, and the metadata that
// asked for it asks again. A round settles the logs it has bytes for, a checkpoint all.
type names struct {
	store *Store

	listMu sync.Mutex // guards what follows
	list   []*Log     // whose names may be lost in a power cut
	busy   bool       // a job for them is queued or running

	// mu is held while names are made durable, and while directories get others. It comes after a log's io and before its mu.
	mu sync.Mutex
}

// settleGroup is how many logs are settled while a round may wait for it.
const settleGroup = 8

// add lists a new log.
func (n *names) add(l *Log) {
	l.nameless.Store(true)
	n.listMu.Lock()
	n.list = append(n.list, l)
	start := !n.busy
	n.busy = true
	n.listMu.Unlock()
	if start {
		n.store.world.Go("settle names", n.settleBehind)
	}
}

// take removes up to max logs from the list. The caller holds mu.
func (n *names) take(max int) []*Log {
	n.listMu.Lock()
	defer n.listMu.Unlock()
	taken := n.list[:min(max, len(n.list))]
	if n.list = n.list[len(taken):]; len(n.list) == 0 {
		n.list, n.busy = nil, false
	}
	return taken
}

// settleBehind settles what is listed, a few at a time.
func (n *names) settleBehind() {
	for more := true; more && !n.store.dead.Load(); {
		var err error
		more, err = n.settleSome(settleGroup)
		more = more && err == nil
	}
}

// settleAll settles what is listed.
func (n *names) settleAll() error {
	_, err := n.settleSome(math.MaxInt)
	return err
}

// settleSome settles up to max of those that are listed, and says whether there were any. An error takes the directory
// offline: those that were taken are listed no more.
func (n *names) settleSome(max int) (bool, error) {
	n.mu.Lock()
	logs := n.take(max)
	err := final(n.settle(logs))
	n.mu.Unlock()
	if err != nil {
		n.store.fail(err)
	}
	return len(logs) > 0, err
}

// settleRound settles those of a round's logs that are new.
func (n *names) settleRound(logs []*Log) error {
	for i, l := range logs {
		if l.nameless.Load() {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.settle(logs[i:])
		}
	}
	return nil
}

// settle makes the names of those logs durable that are not yet, with what lies in their directories. The caller holds
// mu.
func (n *names) settle(logs []*Log) error {
	settled := logs[:0:0]
	for _, l := range logs {
		if !l.nameless.Load() {
			continue
		}
		if err := n.settleInside(l); err != nil {
			return fmt.Errorf("making the directory of %s-%d durable: %w", l.topic, l.partition, err)
		}
		settled = append(settled, l)
	}
	if len(settled) == 0 {
		return nil
	}
	if err := n.store.fs.SyncDir(n.store.dir); err != nil {
		return fmt.Errorf("making names in data directory %s durable: %w", n.store.dir, err)
	}
	for _, l := range settled {
		l.nameless.Store(false)
	}
	return nil
}

// settleInside makes what is in a new log's directory durable. One that was taken away meanwhile needs it no more.
func (n *names) settleInside(l *Log) error {
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	if gone {
		return nil
	}
	f, err := n.store.fs.Open(l.path(metadataFile))
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil && !errors.Is(err, vfs.ErrNotExist) { // the metadata log has no topic id
		return err
	}
	return n.store.fs.SyncDir(l.dir)
}
