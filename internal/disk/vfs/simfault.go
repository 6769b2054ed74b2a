package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// OpKind is a kind of operation; a [Fault] names a set of them.
type OpKind uint32

// The kinds. Those up to OpSyncDir change what a restart finds: they are
// counted by [Sim.OpCount].
const (
	// OpCreate is an Edit or Lock that makes a file.
	OpCreate OpKind = 1 << iota
	OpWrite
	OpSync
	OpPreallocate
	OpTruncate
	OpRemove
	OpRename
	OpMkdir
	OpSyncDir
	// OpOpen is an Open, or an Edit of a file that exists.
	OpOpen
	OpRead
	// OpStat is Stat, Size and Space.
	OpStat
	OpList
	// OpLock is a Lock of a file that exists.
	OpLock

	// OpAny is all of them, and OpCounted those that OpCount counts.
	OpAny     OpKind = 1<<iota - 1
	OpCounted OpKind = OpOpen - 1
)

var kindNames = [...]string{
	"create", "write", "sync", "preallocate", "truncate", "remove", "rename", "mkdir", "syncdir",
	"open", "read", "stat", "list", "lock",
}

// String names the kinds of the set.
func (k OpKind) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Op is an operation that has ended, as [SimConfig.Trace] is told.
type Op struct {
	Kind OpKind
	// Path is as the caller gave it, To only that of a rename.
	Path, To string
	// Off and Len are the range of reads, writes and preallocations; Off is
	// the new size of a truncation.
	Off, Len int64
	// Cost is the time that the operation takes on this disk.
	Cost time.Duration
	Err  error

	// partial says that a failed operation may have left traces.
	partial bool
	// flips is the fault that spoils what a read gives.
	flips *fault
}

// Fault makes operations fail, rot or take long. The zero value of a field does not restrict.
type Fault struct {
	// Path is a pattern of [filepath.Match]: for the whole path when it holds a
	// separator, else for the last name.
	Path string
	// Ops are the kinds it is for.
	Ops OpKind
	// From and To restrict it to operations that overlap these bytes of the file.
	From, To int64
	// Nth is the first matching operation that is hit, counting from 1.
	Nth int
	// Times is how many are hit, from then on.
	Times int
	// OneIn hits only one in so many, by chance.
	OneIn int

	// Err is what the operation answers; [ErrIO] when nothing else is asked for. A
	// failing write may leave a part from its front, a failing sync drops what was not durable.
	Err error
	// Flip turns a random bit of what a read gives, within From and To; the
	// file itself stays whole, as when a cable or memory is at fault.
	Flip bool
	// Delay is added to the operation's cost.
	Delay time.Duration
}

// fault is one that has been put in.
type fault struct {
	Fault
	seen, hit int
}

// Inject puts a fault in and returns what takes it out again. Faults outlive
// crashes and power cuts, as a bad disk does.
func (s *Sim) Inject(f Fault) (remove func()) {
	if f.Ops == 0 {
		f.Ops = OpAny
	}
	if f.Err == nil && !f.Flip && f.Delay == 0 {
		f.Err = ErrIO
	}
	in := &fault{Fault: f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, in)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, other := range s.faults {
			if other == in {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
				return
			}
		}
	}
}

// matches tells whether the fault is for this operation, and counts it.
func (f *fault) matches(op *Op, chance *chance) bool {
	if f.Ops&op.Kind == 0 || !f.covers(op) || !f.names(op.Path) {
		return false
	}
	f.seen++
	if f.seen < f.Nth || (f.Times > 0 && f.hit >= f.Times) {
		return false
	}
	if f.OneIn > 1 && !chance.oneIn(int64(f.OneIn)) {
		return false
	}
	f.hit++
	return true
}

func (f *fault) covers(op *Op) bool {
	if f.From == 0 && f.To == 0 {
		return true
	}
	return op.Off+op.Len > f.From && (f.To == 0 || op.Off < f.To)
}

func (f *fault) names(path string) bool {
	if f.Path == "" {
		return true
	}
	if !strings.ContainsRune(f.Path, filepath.Separator) {
		path = filepath.Base(path)
	}
	ok, err := filepath.Match(f.Path, path)
	return ok && err == nil
}

// FlipBit turns over one bit, chosen by the seed, of the byte at off, on the
// medium: every later read sees it until the place is written again.
func (s *Sim) FlipBit(path string, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(path)
	if err != nil {
		return &fs.PathError{Op: "flip", Path: path, Err: err}
	}
	if n.dir || off < 0 || off >= n.pages.size {
		return fmt.Errorf("flipping a bit of %s at %d: it has %d bytes", path, off, n.pages.size)
	}
	n.pages.flip(off, uint8(s.chance.below(8)))
	return nil
}

// rot flips a bit of what a read gives.
func (s *Sim) rot(op *Op, p []byte) {
	f := op.flips
	if f == nil {
		return
	}
	from, to := max(0, f.From-op.Off), int64(len(p))
	if f.To > 0 {
		to = min(to, f.To-op.Off)
	}
	if from < to {
		p[from+s.chance.below(to-from)] ^= 1 << s.chance.below(8)
	}
}

// enter takes the lock for an operation; what it returns gives it back, names
// the error and tells the trace hook.
func (s *Sim) enter(op *Op, err *error) func() {
	s.mu.Lock()
	return func() {
		if *err != nil {
			var named *fs.PathError
			if !errors.As(*err, &named) {
				*err = &fs.PathError{Op: op.Kind.String(), Path: op.Path, Err: *err}
			}
		}
		op.Err = *err
		if s.config.Latency != nil {
			op.Cost += s.config.Latency(*op)
		}
		s.spent += op.Cost
		trace := s.config.Trace
		s.mu.Unlock()
		if trace != nil {
			trace(*op)
		}
	}
}

// admit counts an operation and decides whether it may happen.
func (m mount) admit(op *Op) error {
	s := m.sim
	switch {
	case m.life != s.life:
		return s.ended
	case s.dead:
		return ErrPowerCut
	}
	if op.Kind&OpCounted != 0 {
		s.ops++
		if s.cutAt > 0 && s.ops >= s.cutAt {
			s.dead, op.partial = true, true
			return ErrPowerCut
		}
	}
	var err error
	for _, f := range s.faults {
		if !f.matches(op, &s.chance) {
			continue
		}
		op.Cost += f.Delay
		if f.Flip {
			op.flips = f
		}
		if f.Err != nil && err == nil {
			err, op.partial = f.Err, true
		}
	}
	return err
}

func (s *Sim) dice() *dice { return &dice{chance: &s.chance, sector: s.config.SectorBytes} }

// OpCount is how many operations that a restart could notice have been asked
// for so far: creations, writes, syncs, preallocations, truncations, removals,
// renames, new directories and directory syncs.
func (s *Sim) OpCount() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// Spent is the cost of all operations so far.
func (s *Sim) Spent() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spent
}
