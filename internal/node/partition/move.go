package partition

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

const (
	// maxPreferred bounds the directories that are remembered for partitions that do not exist yet.
	maxPreferred = 4096
	// settleEvery is how often it is looked whether the last appends before a switch are done.
	settleEvery = time.Millisecond
)

// place names a partition that may not exist yet.
type place struct {
	topic string
	index int32
}

// moves are the partitions on their way to another data directory (KIP-113). One
// is copied at a time, the others wait in the order in which they were asked for.
type moves struct {
	mu   sync.Mutex // guards what follows; held while one step works, the disk included
	list []*move
	busy bool

	preferredMu sync.Mutex // guards preferred
	preferred   map[place]*commitlog.Store
}

// move is one of them.
type move struct {
	p    *Partition
	to   *commitlog.Store
	m    *commitlog.Move
	step func(*Table, *move) (wait time.Duration, done bool, err error)
}

// Move brings a partition to another data directory, in the background. It
// answers as Kafka's AlterReplicaLogDirs: a move to the directory where the
// partition is ends one that is under way, a move to a third one replaces it.
func (t *Table) Move(topic string, index int32, to *commitlog.Store) wire.Code {
	if !commitlog.MovableName(topic, index) {
		return wire.InvalidTopic
	}
	p := t.ByName(topic).Partition(index)
	if p == nil {
		t.moves.prefer(place{topic, index}, to)
		return wire.ReplicaNotAvailable
	}
	ended, code := t.begin(p, to)
	if ended != nil {
		ended.m.Release()
	}
	return code
}

// begin is Move for a partition that there is; it gives the move that it ended, to be released.
func (t *Table) begin(p *Partition, to *commitlog.Store) (ended *move, code wire.Code) {
	v := &t.moves
	v.mu.Lock()
	defer v.mu.Unlock()
	if p.Closed() {
		return nil, wire.ReplicaNotAvailable
	}
	if i := v.find(p); i >= 0 {
		if v.list[i].to == to {
			return nil, wire.None
		}
		ended = v.cancel(i)
	}
	if t.storeOf(p.Log()) == to {
		return ended, wire.None
	}
	m, err := p.Log().MoveTo(to)
	if err != nil {
		t.o.Logger.Warn("a partition cannot be moved", "topic", p.Topic, "partition", p.Index, "to", to.Dir(), "error", err)
		return ended, Code(err)
	}
	v.list = append(v.list, &move{p: p, to: to, m: m, step: (*Table).copyPiece})
	if !v.busy {
		v.busy = true
		t.o.World.Go("move", t.moveOn)
	}
	return ended, wire.None
}

// find is the place of the partition's move in the list, -1 when there is none. The caller holds mu.
func (v *moves) find(p *Partition) int {
	return slices.IndexFunc(v.list, func(m *move) bool { return m.p == p })
}

// cancel gives a move up, which is still to be released. The caller holds mu.
func (v *moves) cancel(i int) *move {
	m := v.list[i]
	v.list = slices.Delete(v.list, i, i+1)
	m.m.Abort()
	return m
}

// stop ends the partition's move, if there is one.
func (v *moves) stop(p *Partition) {
	v.mu.Lock()
	var ended *move
	if i := v.find(p); i >= 0 {
		ended = v.cancel(i)
	}
	v.mu.Unlock()
	if ended != nil {
		ended.m.Release()
	}
}

// prefer remembers where a partition shall be made.
func (v *moves) prefer(at place, to *commitlog.Store) {
	v.preferredMu.Lock()
	defer v.preferredMu.Unlock()
	if v.preferred == nil {
		v.preferred = make(map[place]*commitlog.Store)
	}
	if _, ok := v.preferred[at]; ok || len(v.preferred) < maxPreferred {
		v.preferred[at] = to
	}
}

// takePreferred is the directory that was asked for before there was the partition, nil when none was.
func (v *moves) takePreferred(at place) *commitlog.Store {
	v.preferredMu.Lock()
	defer v.preferredMu.Unlock()
	s := v.preferred[at]
	delete(v.preferred, at)
	if s == nil || s.Failed() != nil {
		return nil
	}
	return s
}

// moveOn does one step of the first move and comes back for the next.
func (t *Table) moveOn() {
	v := &t.moves
	v.mu.Lock()
	if len(v.list) == 0 {
		v.busy = false
		v.mu.Unlock()
		return
	}
	m := v.list[0]
	wait, done, err := m.step(t, m)
	if err != nil {
		t.o.Logger.Error("a partition stays where it is: its move failed", "topic", m.p.Topic, "partition", m.p.Index, "to", m.to.Dir(), "error", err)
		m.m.Abort()
	}
	if done = done || err != nil; done {
		v.list = v.list[1:]
	}
	v.mu.Unlock()
	if done {
		m.m.Release()
		if err == nil && t.o.Moved != nil {
			t.o.Moved(m.p)
		}
	}
	next := func() { t.o.World.Go("move", t.moveOn) }
	if wait > 0 {
		t.o.World.AfterFunc(wait, next)
		return
	}
	next()
}

// copyPiece copies until there is nothing left, and then syncs.
func (t *Table) copyPiece(m *move) (time.Duration, bool, error) {
	more, err := m.m.Copy()
	if err != nil || more {
		return 0, false, err
	}
	m.step = (*Table).copyRest
	return 0, false, m.m.Sync()
}

// copyRest copies what has come since the sync, and then holds appends.
func (t *Table) copyRest(m *move) (time.Duration, bool, error) {
	more, err := m.m.Copy()
	if err != nil || more {
		return 0, false, err
	}
	m.m.Hold()
	m.step = (*Table).finishMove
	return 0, false, nil
}

// finishMove switches the partition to the copy once no append is in flight.
func (t *Table) finishMove(m *move) (time.Duration, bool, error) {
	settled, err := m.m.Settled()
	if err != nil {
		return 0, false, err
	}
	if !settled {
		return settleEvery, false, nil
	}
	from := m.p.Log().Dir()
	l, err := m.m.Finish()
	if err != nil {
		return 0, false, err
	}
	m.p.log.Store(l)
	l.SetConfig(t.logConfig(m.p.Config())) // it may have changed since the copy began
	m.m.Retire()
	t.o.Logger.Info("a partition was moved", "topic", m.p.Topic, "partition", m.p.Index, "from", from, "to", l.Dir())
	return 0, true, nil
}

// held finds the partition's log in the data directories, nil when there is none. A crash in the middle of a move may leave
// two that are equal up to the end of the shorter one; the longer one is the partition, and the other gets out of its way.
func (t *Table) held(topic *metadata.Topic, index int32) (*commitlog.Log, error) {
	var found []*commitlog.Log
	for _, s := range t.o.Stores {
		if l, ok := s.Log(topic.Name, index); ok && s.Failed() == nil && l.TopicID() == topic.ID {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	for _, l := range found {
		if len(found) > 1 && l.Err() != nil {
			// What the damaged one had is not known: it must not be passed over in silence.
			return l, nil
		}
	}
	slices.SortStableFunc(found, func(a, b *commitlog.Log) int {
		return cmp.Or(cmp.Compare(b.End(), a.End()), cmp.Compare(b.Start(), a.Start()))
	})
	for _, l := range found[1:] {
		t.o.Logger.Warn("a partition is in two data directories, as a move that was cut short leaves it; the log that reaches further is used, the other is set aside",
			"topic", topic.Name, "partition", index, "used", found[0].Dir(), "aside", l.Dir())
		if err := t.storeOf(l).Stray(l); err != nil {
			return nil, fmt.Errorf("setting a second copy of %s-%d aside: %w", topic.Name, index, err)
		}
	}
	return found[0], nil
}

// create makes the partition's log in the directory that was asked for, else in the one that has the fewest.
func (t *Table) create(topic *metadata.Topic, index int32, cfg *config.TopicConfig) (*commitlog.Log, error) {
	best := t.moves.takePreferred(place{topic.Name, index})
	if best == nil {
		for _, s := range t.o.Stores {
			if s.Failed() == nil && (best == nil || len(s.Logs()) < len(best.Logs())) {
				best = s
			}
		}
	}
	if best == nil {
		return nil, fmt.Errorf("partition %s-%d has no place: every data directory is offline", topic.Name, index)
	}
	if err := t.dropHalfMade(best, topic.Name, index); err != nil {
		return nil, fmt.Errorf("removing what a crash has left of the log of %s-%d: %w", topic.Name, index, err)
	}
	l, err := best.Create(topic.Name, index, topic.ID, t.logConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("creating the log of %s-%d: %w", topic.Name, index, err)
	}
	return l, nil
}

// dropHalfMade gets a log out of the way that a crash has left without its topic id, while it was being made. Nothing that was
// acknowledged as durable is in it; what a weaker promise let in is set aside.
func (t *Table) dropHalfMade(s *commitlog.Store, topic string, index int32) error {
	l, ok := s.Log(topic, index)
	if !ok || l.TopicID() != wire.ZeroUUID || l.Err() != nil {
		return nil
	}
	if l.End() == 0 {
		return s.Delete(l)
	}
	t.o.Logger.Warn("a power cut has left a new partition without its topic id; what was written, but not durable, is set aside",
		"topic", topic, "partition", index, "dir", l.Dir())
	return s.Stray(l)
}

// dropFutures removes what moves of an earlier life have left half done.
func (t *Table) dropFutures() {
	for _, s := range t.o.Stores {
		s.DropFutures(func(topic string, index int32) bool {
			for _, other := range t.o.Stores {
				if l, ok := other.Log(topic, index); ok && l.Err() == nil {
					return true
				}
			}
			return false
		})
	}
}
