package vfs

import (
	"maps"
	"slices"
)

// node is a file or a directory of the simulated disk.
type node struct {
	dir   bool
	modMs int64
	// opens counts handles and unlinked says that no name leads here any more:
	// the blocks are free when both say so.
	opens    int
	unlinked bool
	pages    pages

	// now is what the process sees in a directory, disk what is durable; pending has
	// the last change of each name that differs between them.
	now, disk map[string]*node
	pending   map[string]*nameChange
}

func newDir() *node {
	return &node{dir: true, now: map[string]*node{}, disk: map[string]*node{}, pending: map[string]*nameChange{}}
}

func (n *node) entry(name string) Entry {
	return Entry{Name: name, Size: n.pages.size, Dir: n.dir, ModTimeMs: n.modMs}
}

// holds tells whether other is n or below it.
func (n *node) holds(other *node) bool {
	if n == other {
		return true
	}
	for _, child := range n.now {
		if child.dir && child.holds(other) {
			return true
		}
	}
	return false
}

// nameSet makes a name in a directory lead to a node, or to nothing.
type nameSet struct {
	dir  *node
	name string
	to   *node
}

// nameChange is one create, remove, rename or mkdir. It becomes durable whole or not at all.
type nameChange struct {
	sets []nameSet
	// after are the pending changes that must be durable before this one: the
	// earlier ones of the same names.
	after []*nameChange
	// unsynced are the directories whose SyncDir has not been called since.
	unsynced []*node
	settled  bool
	durable  bool
	round    uint64
}

// nameLog is the changes of names in their order, with those that have become
// durable dropped now and then.
type nameLog struct {
	list  []*nameChange
	live  int
	round uint64
}

// rename applies sets as one change of names.
func (s *Sim) rename(sets ...nameSet) {
	c := &nameChange{sets: sets}
	moved := len(sets) == 2 && sets[0].dir != sets[1].dir && sets[1].to.dir
	if moved {
		// A directory that changes its parent waits for everything before it, as in a
		// journalling file system: else parts of the tree could end up inside each other.
		c.after = s.changes.pending()
	}
	for _, set := range sets {
		if before := set.dir.pending[set.name]; before != nil {
			c.after = append(c.after, before)
		}
		if gone := set.dir.now[set.name]; set.to == nil && len(sets) == 1 && gone.dir {
			for _, name := range slices.Sorted(maps.Keys(gone.pending)) {
				c.after = append(c.after, gone.pending[name])
			}
		}
		if !slices.Contains(c.unsynced, set.dir) {
			c.unsynced = append(c.unsynced, set.dir)
		}
	}
	for _, set := range sets {
		set.dir.pending[set.name] = c
		set.dir.modMs = s.nowMs()
		if set.to == nil {
			delete(set.dir.now, set.name)
		} else {
			set.dir.now[set.name] = set.to
		}
	}
	s.changes.add(c)
}

// unlink frees the blocks of a file that lost its name, once nobody has it open.
func (s *Sim) unlink(n *node) {
	n.unlinked = true
	if n.opens == 0 {
		s.used -= n.pages.allocated
	}
}

func (l *nameLog) add(c *nameChange) {
	if len(l.list) > 64+2*l.live {
		l.list = l.pending()
	}
	l.list = append(l.list, c)
	l.live++
}

// pending gives the changes that are not durable, in order.
func (l *nameLog) pending() []*nameChange {
	list := make([]*nameChange, 0, l.live+1)
	for _, c := range l.list {
		if !c.settled {
			list = append(list, c)
		}
	}
	return list
}

// sync is SyncDir: a change is durable when each directory it touches has been
// synced since, and with it those before it.
func (l *nameLog) sync(dir *node) {
	l.round++
	for _, name := range slices.Sorted(maps.Keys(dir.pending)) {
		l.syncChange(dir.pending[name], dir)
	}
}

func (l *nameLog) syncChange(c *nameChange, dir *node) {
	if c == nil || c.settled || c.round == l.round {
		return
	}
	c.round = l.round
	for _, before := range c.after {
		l.syncChange(before, dir)
	}
	c.unsynced = slices.DeleteFunc(c.unsynced, func(d *node) bool { return d == dir })
	if len(c.unsynced) == 0 {
		l.settle(c, true)
	}
}

// settle ends a change: it is on disk, or it never was. What must precede a
// durable one becomes durable first.
func (l *nameLog) settle(c *nameChange, durable bool) {
	if c.settled {
		return
	}
	if durable {
		for _, before := range c.after {
			l.settle(before, true)
		}
	}
	for _, set := range c.sets {
		if set.dir.pending[set.name] == c {
			delete(set.dir.pending, set.name)
		}
		switch {
		case !durable:
		case set.to == nil:
			delete(set.dir.disk, set.name)
		default:
			set.dir.disk[set.name] = set.to
		}
	}
	c.settled, c.durable = true, durable
	c.sets, c.after, c.unsynced = nil, nil, nil
	l.live--
}

// cut decides at a power cut which of the pending changes have reached the disk.
func (l *nameLog) cut(fate func() bool) {
	for _, c := range l.pending() {
		kept := fate()
		for _, before := range c.after {
			kept = kept && before.durable
		}
		l.settle(c, kept)
	}
	l.list = nil
}
