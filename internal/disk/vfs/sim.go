package vfs

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Errors of the simulated disk.
var (
	// ErrPowerCut is the answer to everything done after the cut, or through a
	// handle or mount from before it.
	ErrPowerCut = errors.New("the simulated machine has lost its power")
	// ErrKilled is the answer to a handle or mount of a process that [Sim.Crash] ended.
	ErrKilled = errors.New("the simulated process has been killed")
	// ErrIO is what a [Fault] answers that names no error.
	ErrIO error = syscall.EIO
)

// Sector sizes: what a disk writes whole or not at all, unless it tears it.
const (
	Sector512 = 512
	Sector4K  = 4096
)

// SimConfig says what kind of disk to simulate. The zero value is a disk of
// 512 byte sectors and 1 TiB with seed 0.
type SimConfig struct {
	// Seed decides everything that is left to chance.
	Seed uint64
	// SectorBytes is [Sector512] or [Sector4K].
	SectorBytes int
	// TotalBytes is the size of the volume; see [Sim.SetTotal].
	TotalBytes int64
	// NowMs gives modification times; without it they count operations.
	NowMs func() int64
	// Trace is told of every operation when it has ended, outside of all locks:
	// it may count, or sleep for Op.Cost where real time runs.
	Trace func(Op)
	// Latency is what an operation costs on this disk, before faults add to
	// it. Nothing here sleeps: the cost is in Op.Cost and [Sim.Spent].
	Latency func(Op) time.Duration
}

// Sim is a disk in memory. What was not synced is at risk in [Sim.PowerCut];
// faults can be put in with [Sim.Inject]. The same seed and the same operations
// in the same order give the same result, always. It may be used concurrently.
//
// As an [FS] it always acts for the present process; a process that may
// outlive its own crash (goroutines that still run) takes a [Sim.Mount].
//
// What is modelled, and is harsher than any one file system: each sector
// reaches the platter on its own and in any order, also in a version between two
// writes; the size and each change of a name likewise, except that a rename
// is one step and steps on the same name keep their order. Syncing a file does
// not make its name durable.
type Sim struct {
	// mu guards everything below.
	mu     sync.Mutex
	chance chance
	config SimConfig
	used   int64
	root   *node
	// life counts the processes; a handle of an earlier one answers ended.
	life  uint64
	ended error
	// dead is set between the operation that CutAt chose and the restart.
	dead    bool
	ops     int64
	cutAt   int64
	spent   time.Duration
	faults  []*fault
	locks   map[*node]*simLock
	changes nameLog
}

// NewSim makes an empty disk.
func NewSim(config SimConfig) *Sim {
	if config.SectorBytes == 0 {
		config.SectorBytes = Sector512
	}
	if config.TotalBytes == 0 {
		config.TotalBytes = 1 << 40
	}
	return &Sim{
		chance: chance{state: config.Seed},
		config: config,
		root:   newDir(),
		locks:  map[*node]*simLock{},
	}
}

// chance is a stream of random numbers (SplitMix64).
type chance struct{ state uint64 }

func (c *chance) next() uint64 {
	c.state += 0x9e3779b97f4a7c15
	z := c.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below gives a number in [0, n).
func (c *chance) below(n int64) int64 { return int64(c.next() % uint64(n)) }

// oneIn is true once in n times.
func (c *chance) oneIn(n int64) bool { return c.below(n) == 0 }

// Mount gives the disk as the present process sees it: after [Sim.Crash] or
// [Sim.PowerCut] it answers [ErrKilled] or [ErrPowerCut] for ever.
func (s *Sim) Mount() FS { return s.mount() }

func (s *Sim) mount() mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	return mount{sim: s, life: s.life}
}

// Open opens an existing file for reading.
func (s *Sim) Open(path string) (File, error) { return s.mount().Open(path) }

// Edit opens a file for reading and writing, creating it when missing.
func (s *Sim) Edit(path string) (File, error) { return s.mount().Edit(path) }

// Remove deletes a file or an empty directory.
func (s *Sim) Remove(path string) error { return s.mount().Remove(path) }

// RemoveAll deletes a tree; each removal in it is an operation of its own.
func (s *Sim) RemoveAll(path string) error { return s.mount().RemoveAll(path) }

// Rename moves a file or directory over whatever file has the new name.
func (s *Sim) Rename(from, to string) error { return s.mount().Rename(from, to) }

// MkdirAll makes a directory and its parents, each in an operation of its own.
func (s *Sim) MkdirAll(path string) error { return s.mount().MkdirAll(path) }

// List gives the entries of a directory, sorted by name.
func (s *Sim) List(dir string) ([]Entry, error) { return s.mount().List(dir) }

// Stat describes one path.
func (s *Sim) Stat(path string) (Entry, error) { return s.mount().Stat(path) }

// SyncDir makes the names in a directory durable.
func (s *Sim) SyncDir(dir string) error { return s.mount().SyncDir(dir) }

// Lock takes the exclusive lock file.
func (s *Sim) Lock(path string) (Lock, error) { return s.mount().Lock(path) }

// Space tells the total and free bytes.
func (s *Sim) Space(path string) (total, free int64, err error) { return s.mount().Space(path) }

// SetTotal changes the size of the volume: below what is used, every write to
// new blocks answers [ErrNoSpace]; a larger one lets them go on.
func (s *Sim) SetTotal(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.TotalBytes = bytes
}

// SetTrace replaces the trace hook; nil ends it.
func (s *Sim) SetTrace(trace func(Op)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Trace = trace
}

// nowMs stamps a change.
func (s *Sim) nowMs() int64 {
	if s.config.NowMs != nil {
		return s.config.NowMs()
	}
	return s.ops
}

// mount is the disk as one process sees it.
type mount struct {
	sim  *Sim
	life uint64
}

var _ FS = (*Sim)(nil)

// split gives the names on the way to a path; the process lives in the root.
func split(path string) []string {
	path = filepath.ToSlash(filepath.Clean(path))
	path = strings.TrimPrefix(path[len(filepath.VolumeName(path)):], "/")
	if path == "." || path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// find walks to a path.
func (s *Sim) find(path string) (*node, error) {
	at := s.root
	for _, name := range split(path) {
		if !at.dir {
			return nil, syscall.ENOTDIR
		}
		next := at.now[name]
		if next == nil {
			return nil, syscall.ENOENT
		}
		at = next
	}
	return at, nil
}

// findParent walks to the directory of a path.
func (s *Sim) findParent(path string) (dir *node, name string, err error) {
	names := split(path)
	if len(names) == 0 {
		return nil, "", syscall.EINVAL
	}
	last := len(names) - 1
	dir, err = s.find(strings.Join(names[:last], "/"))
	if err == nil && !dir.dir {
		err = syscall.ENOTDIR
	}
	return dir, names[last], err
}

func (m mount) Open(path string) (_ File, err error) {
	op := Op{Kind: OpOpen, Path: path}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return nil, err
	}
	n, err := m.sim.find(path)
	if err != nil {
		return nil, err
	}
	return m.handle(n, path, false)
}

func (m mount) Edit(path string) (_ File, err error) {
	op := Op{Kind: OpOpen, Path: path}
	defer m.sim.enter(&op, &err)()
	n, err := m.openOrCreate(&op)
	if err != nil {
		return nil, err
	}
	return m.handle(n, path, true)
}

func (m mount) handle(n *node, path string, writable bool) (File, error) {
	if n.dir {
		return nil, syscall.EISDIR
	}
	n.opens++
	return &simFile{mount: m, node: n, path: path, writable: writable}, nil
}

// openOrCreate finds op.Path or makes an empty file of it; only the latter is
// an operation that a power cut can undo.
func (m mount) openOrCreate(op *Op) (*node, error) {
	dir, name, findErr := m.sim.findParent(op.Path)
	if findErr == nil && dir.now[name] == nil {
		op.Kind = OpCreate
	}
	if err := m.admit(op); err != nil {
		return nil, err
	}
	if findErr != nil {
		return nil, findErr
	}
	n := dir.now[name]
	if n == nil {
		n = &node{modMs: m.sim.nowMs()}
		m.sim.rename(nameSet{dir, name, n})
	}
	return n, nil
}

func (m mount) Remove(path string) (err error) {
	op := Op{Kind: OpRemove, Path: path}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return err
	}
	return m.sim.remove(path)
}

// remove takes one name away.
func (s *Sim) remove(path string) error {
	dir, name, err := s.findParent(path)
	if err != nil {
		return err
	}
	n := dir.now[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n.dir && len(n.now) > 0:
		return syscall.ENOTEMPTY
	}
	s.rename(nameSet{dir, name, nil})
	s.unlink(n)
	return nil
}

func (m mount) RemoveAll(path string) error {
	list, err := m.below(path)
	if err != nil {
		return err
	}
	for _, p := range list {
		if err := m.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// below lists the tree at path, children before parents.
func (m mount) below(path string) (list []string, err error) {
	op := Op{Kind: OpList, Path: path}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return nil, err
	}
	n, err := m.sim.find(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		for _, name := range slices.Sorted(maps.Keys(n.now)) {
			walk(n.now[name], filepath.Join(path, name))
		}
		list = append(list, path)
	}
	walk(n, path)
	return list, nil
}

func (m mount) Rename(from, to string) (err error) {
	op := Op{Kind: OpRename, Path: from, To: to}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return err
	}
	s := m.sim
	fromDir, fromName, err := s.findParent(from)
	if err != nil {
		return err
	}
	toDir, toName, err := s.findParent(to)
	if err != nil {
		return err
	}
	n, old := fromDir.now[fromName], toDir.now[toName]
	switch {
	case n == nil:
		return syscall.ENOENT
	case old != nil && old.dir:
		return syscall.EEXIST
	case n.dir && n.holds(toDir):
		return syscall.EINVAL
	case old != nil && n.dir:
		return syscall.ENOTDIR
	case n == old:
		return nil
	}
	s.rename(nameSet{fromDir, fromName, nil}, nameSet{toDir, toName, n})
	if old != nil {
		s.unlink(old)
	}
	return nil
}

func (m mount) MkdirAll(path string) error {
	names := split(path)
	for i := range names {
		if err := m.mkdir("/" + strings.Join(names[:i+1], "/")); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes one directory unless it is there.
func (m mount) mkdir(path string) (err error) {
	op := Op{Kind: OpStat, Path: path}
	defer m.sim.enter(&op, &err)()
	dir, name, findErr := m.sim.findParent(path)
	if findErr == nil && dir.now[name] == nil {
		op.Kind = OpMkdir
	}
	if err := m.admit(&op); err != nil {
		return err
	}
	switch {
	case findErr != nil:
		return findErr
	case dir.now[name] == nil:
		n := newDir()
		n.modMs = m.sim.nowMs()
		m.sim.rename(nameSet{dir, name, n})
	case !dir.now[name].dir:
		return syscall.ENOTDIR
	}
	return nil
}

func (m mount) List(dir string) (list []Entry, err error) {
	op := Op{Kind: OpList, Path: dir}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return nil, err
	}
	n, err := m.sim.find(dir)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, syscall.ENOTDIR
	}
	list = make([]Entry, 0, len(n.now))
	for name, child := range n.now {
		list = append(list, child.entry(name))
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (m mount) Stat(path string) (_ Entry, err error) {
	op := Op{Kind: OpStat, Path: path}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return Entry{}, err
	}
	n, err := m.sim.find(path)
	if err != nil {
		return Entry{}, err
	}
	return n.entry(filepath.Base(path)), nil
}

func (m mount) SyncDir(dir string) (err error) {
	op := Op{Kind: OpSyncDir, Path: dir}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return err
	}
	n, err := m.sim.find(dir)
	if err != nil {
		return err
	}
	if !n.dir {
		return syscall.ENOTDIR
	}
	m.sim.changes.sync(n)
	return nil
}

func (m mount) Lock(path string) (_ Lock, err error) {
	op := Op{Kind: OpLock, Path: path}
	defer m.sim.enter(&op, &err)()
	n, err := m.openOrCreate(&op)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, syscall.EISDIR
	}
	if m.sim.locks[n] != nil {
		return nil, ErrLocked
	}
	l := &simLock{sim: m.sim, node: n}
	m.sim.locks[n] = l
	return l, nil
}

func (m mount) Space(path string) (total, free int64, err error) {
	op := Op{Kind: OpStat, Path: path}
	defer m.sim.enter(&op, &err)()
	if err := m.admit(&op); err != nil {
		return 0, 0, err
	}
	if _, err := m.sim.find(path); err != nil {
		return 0, 0, err
	}
	total = m.sim.config.TotalBytes
	return total, max(0, total-m.sim.used), nil
}

// simLock is a held lock file.
type simLock struct {
	sim  *Sim
	node *node
}

// Close gives the lock back; one that a crash has taken answers fs.ErrClosed.
func (l *simLock) Close() error {
	l.sim.mu.Lock()
	defer l.sim.mu.Unlock()
	if l.sim.locks[l.node] != l {
		return fs.ErrClosed
	}
	delete(l.sim.locks, l.node)
	return nil
}
