package vfs

import (
	"maps"
	"slices"
)

// Fate is what becomes of that which was not synced.
type Fate int

// The fates.
const (
	// Mix lets the seed decide for each sector, size and change of a name: lost,
	// kept, and for sectors also torn or a version in between.
	Mix Fate = iota
	// Lose goes back to what was synced last.
	Lose
	// Keep lets all of it survive.
	Keep
)

// Cut gives each kind of unsynced thing its fate.
type Cut struct {
	// Data is the bytes of files, Size their lengths, Names the entries of directories.
	Data, Size, Names Fate
}

// fate draws what one thing's fate is.
type fate struct {
	mixed bool
	kept  bool
	// among out of 8 things survive a mix: drawn anew for each file, so that
	// all or nothing of one is as likely as something of each.
	among int64
	*chance
}

func (s *Sim) fate(f Fate) *fate {
	made := &fate{mixed: f == Mix, kept: f == Keep, chance: &s.chance}
	if made.mixed {
		made.among = []int64{0, 1, 4, 7, 8}[s.chance.below(5)]
	}
	return made
}

func (f *fate) keeps() bool {
	if f.mixed {
		return f.below(8) < f.among
	}
	return f.kept
}

// CutAt makes the n-th counted operation from now (1 is the next one) and
// everything after it answer [ErrPowerCut]. If it is a write, a part from its front may
// have happened. The restart is [Sim.PowerCut], or [Sim.Crash] when only the
// process died; until then even what was written before stays as it is. 0 takes it back.
func (s *Sim) CutAt(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutAt = 0
	if n > 0 {
		s.cutAt = s.ops + n
	}
}

// PowerCut loses the power and restarts: what was not synced has the fate f, and
// old handles and mounts answer [ErrPowerCut].
func (s *Sim) PowerCut(f Fate) { s.PowerCutEach(Cut{Data: f, Size: f, Names: f}) }

// PowerCutEach is PowerCut with a fate for each kind of thing.
func (s *Sim) PowerCutEach(c Cut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.cut(s.fate(c.Names).keeps)
	s.used = 0
	s.restore(s.root, c)
	s.restart(ErrPowerCut)
}

// restore makes what is durable what a process sees, from n down.
func (s *Sim) restore(n *node, c Cut) {
	n.opens, n.unlinked = 0, false
	if !n.dir {
		n.pages.cut(s.fate(c.Data), s.fate(c.Size), s.dice())
		s.used += n.pages.allocated
		return
	}
	n.now = maps.Clone(n.disk)
	for _, name := range slices.Sorted(maps.Keys(n.now)) {
		s.restore(n.now[name], c)
	}
}

// Crash kills the process (kill -9) and starts anew: all that was written is
// still there, durable or not; handles and mounts answer [ErrKilled] and locks are free.
func (s *Sim) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = 0
	s.closeAll(s.root)
	s.restart(ErrKilled)
}

// closeAll closes every handle below n, and counts the blocks anew.
func (s *Sim) closeAll(n *node) {
	n.opens = 0
	s.used += n.pages.allocated
	for _, child := range n.now {
		s.closeAll(child)
	}
}

// restart begins the life of the next process.
func (s *Sim) restart(why error) {
	s.life++
	s.ended = why
	s.dead, s.cutAt = false, 0
	clear(s.locks)
}
