package vfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fileModel is what may be found of one file after a power cut, worked out the
// plain way: whole contents, and for each sector every version since the last sync.
type fileModel struct {
	sector           int
	now, disk        []byte
	nowSize, oldSize int
	versions         map[int][][]byte
}

const modelBytes = 5 * pageBytes

func newFileModel(sector int) *fileModel {
	return &fileModel{sector: sector, now: make([]byte, modelBytes), disk: make([]byte, modelBytes), versions: map[int][][]byte{}}
}

func (m *fileModel) at(b []byte, i int) []byte { return b[i*m.sector : (i+1)*m.sector] }

// put changes now and notes the new version of each sector it touches.
func (m *fileModel) put(b []byte, off int) {
	if len(b) == 0 {
		return
	}
	copy(m.now[off:], b)
	for i := off / m.sector; i*m.sector < off+len(b); i++ {
		m.versions[i] = append(m.versions[i], bytes.Clone(m.at(m.now, i)))
	}
}

func (m *fileModel) truncate(size int) {
	if size < m.nowSize {
		m.put(make([]byte, modelBytes-size), size)
	}
	m.nowSize = size
}

func (m *fileModel) sync() {
	copy(m.disk, m.now)
	m.oldSize = m.nowSize
	clear(m.versions)
}

// allows checks what a power cut left.
func (m *fileModel) allows(t *rapid.T, got []byte) {
	low, high := m.oldSize, max(m.oldSize, m.nowSize)
	if len(got) != m.nowSize && (len(got) < low || len(got) > high) {
		t.Fatalf("size %d, was %d when synced and %d at the cut", len(got), m.oldSize, m.nowSize)
	}
	for i := 0; i*m.sector < len(got); i++ {
		part := got[i*m.sector : min(len(got), (i+1)*m.sector)]
		if !m.allowsSector(i, part) {
			t.Fatalf("sector %d of %d bytes is neither old nor new nor torn (dirty: %v)", i, m.sector, m.versions[i] != nil)
		}
	}
}

func (m *fileModel) allowsSector(i int, got []byte) bool {
	n := len(got)
	old := m.at(m.disk, i)[:n]
	if bytes.Equal(got, old) {
		return true
	}
	for _, v := range m.versions[i] {
		if bytes.Equal(got, v[:n]) {
			return true
		}
	}
	if m.versions[i] == nil {
		return false
	}
	now := m.at(m.now, i)[:n]
	return torn(got, now, old) || torn(got, old, now)
}

// torn tells whether got has its front from one and its rest from the other.
func torn(got, front, rest []byte) bool {
	at := 0
	for at < len(got) && got[at] == front[at] {
		at++
	}
	return bytes.Equal(got[at:], rest[at:])
}

// TestPowerCutOfOneFile runs random operations and cuts against the model.
func TestPowerCutOfOneFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := SimConfig{
			Seed:        rapid.Uint64().Draw(t, "seed"),
			SectorBytes: rapid.SampledFrom([]int{Sector512, Sector4K}).Draw(t, "sector"),
		}
		s := NewSim(config)
		f := mustEdit(t, s, "f")
		must(t, s.SyncDir("/"))
		m := newFileModel(config.SectorBytes)
		fill := byte(0)
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			off := rapid.IntRange(0, modelBytes-1).Draw(t, "off")
			switch rapid.IntRange(0, 9).Draw(t, "operation") {
			case 0:
				must(t, f.Sync())
				m.sync()
			case 1:
				must(t, f.Truncate(int64(off)))
				m.truncate(off)
			case 2:
				must(t, f.Preallocate(0, int64(off)))
				m.nowSize = max(m.nowSize, off)
			case 3:
				f = cutAndCompare(t, s, m)
			case 4:
				s.Crash()
				f = mustEdit(t, s, "f")
			default:
				fill++
				n := rapid.IntRange(1, min(modelBytes-off, 3000)).Draw(t, "len")
				b := bytes.Repeat([]byte{fill}, n)
				if _, err := f.WriteAt(b, int64(off)); err != nil {
					t.Fatal(err)
				}
				m.nowSize = max(m.nowSize, off+n)
				m.put(b, off)
			}
			if got := content(t, f); !bytes.Equal(got, m.now[:m.nowSize]) {
				t.Fatalf("the process reads %d bytes that differ from the %d it wrote", len(got), m.nowSize)
			}
		}
		cutAndCompare(t, s, m)
	})
}

// cutAndCompare cuts the power and makes what is left the new beginning.
func cutAndCompare(t *rapid.T, s *Sim, m *fileModel) File {
	mode := rapid.SampledFrom([]Fate{Mix, Mix, Mix, Lose, Keep}).Draw(t, "fate")
	s.PowerCut(mode)
	f := mustEdit(t, s, "f")
	got := content(t, f)
	m.allows(t, got)
	switch {
	case mode == Lose && !bytes.Equal(got, m.disk[:m.oldSize]):
		t.Fatal("Lose left something that was not synced")
	case mode == Keep && !bytes.Equal(got, m.now[:m.nowSize]):
		t.Fatal("Keep lost something")
	}
	clear(m.now)
	copy(m.now, got)
	m.nowSize = len(got)
	m.sync()
	return f
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustEdit(t *rapid.T, fsys FS, path string) File {
	t.Helper()
	f, err := fsys.Edit(path)
	must(t, err)
	return f
}

func content(t *rapid.T, f File) []byte {
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size+1)
	n, err := f.ReadAt(b, 0)
	if int64(n) != size || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d of %d bytes: %v", n, size, err)
	}
	return b[:n]
}

// namesModel is which file each name may lead to after a power cut.
type namesModel struct {
	now map[string]uint64
	// history has, for each name, all that it led to since it was last known to be durable.
	history map[string][]uint64
	// crossed names took part in a move between directories since everything was synced.
	crossed map[string]bool
	// safe files were durable when everything was synced, and have not been removed since.
	safe map[uint64]bool
	next uint64
}

func (m *namesModel) set(name string, id uint64) {
	m.history[name] = append(m.history[name], id)
	m.now[name] = id
}

func (m *namesModel) syncAll() {
	clear(m.crossed)
	clear(m.safe)
	for name, id := range m.now {
		m.history[name] = []uint64{id}
		m.safe[id] = true
	}
	delete(m.safe, 0)
}

func (m *namesModel) syncDir(dir string) {
	for name, id := range m.now {
		if path.Dir(name) == dir && !m.crossed[name] {
			m.history[name] = []uint64{id}
		}
	}
}

func (m *namesModel) create(t *rapid.T, s *Sim, name string) {
	if m.now[name] != 0 {
		return
	}
	m.next++
	f := mustEdit(t, s, name)
	_, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, m.next), 0)
	must(t, errors.Join(err, f.Sync(), f.Close()))
	m.set(name, m.next)
}

func (m *namesModel) rename(t *rapid.T, s *Sim, from, to string) {
	id := m.now[from]
	if id == 0 || from == to {
		return
	}
	must(t, s.Rename(from, to))
	delete(m.safe, m.now[to])
	m.set(from, 0)
	m.set(to, id)
	if path.Dir(from) != path.Dir(to) {
		m.crossed[from], m.crossed[to] = true, true
	}
}

// compare checks the disk after a power cut and starts anew from there.
func (m *namesModel) compare(t *rapid.T, s *Sim, names []string) {
	found := map[uint64]string{}
	for _, name := range names {
		var id uint64
		if b, err := ReadFile(s, name, 8); err == nil {
			id = binary.BigEndian.Uint64(b)
		}
		if !slices.Contains(m.history[name], id) && (id != 0 || len(m.history[name]) > 0) {
			t.Fatalf("%s leads to file %d; since it was synced it led to %v", name, id, m.history[name])
		}
		if id != 0 && found[id] != "" {
			t.Fatalf("file %d is both %s and %s", id, found[id], name)
		}
		found[id] = name
		m.now[name] = id
	}
	for id := range m.safe {
		if found[id] == "" {
			t.Fatalf("file %d was durable, only renamed, and is gone", id)
		}
	}
	m.syncAll()
}

// TestPowerCutOfNames creates, moves and removes names in two directories.
func TestPowerCutOfNames(t *testing.T) {
	names := []string{"a/x", "a/y", "a/z", "b/x", "b/y"}
	rapid.Check(t, func(t *rapid.T) {
		s := NewSim(SimConfig{Seed: rapid.Uint64().Draw(t, "seed")})
		must(t, errors.Join(s.MkdirAll("a"), s.MkdirAll("b"), s.SyncDir("/")))
		m := &namesModel{now: map[string]uint64{}, history: map[string][]uint64{}, crossed: map[string]bool{}, safe: map[uint64]bool{}}
		for _, name := range names {
			m.set(name, 0)
		}
		name := rapid.SampledFrom(names)
		for range rapid.IntRange(1, 40).Draw(t, "operations") {
			from := name.Draw(t, "name")
			switch rapid.IntRange(0, 8).Draw(t, "operation") {
			case 0, 1, 2:
				m.create(t, s, from)
			case 3, 4, 5:
				m.rename(t, s, from, name.Draw(t, "to"))
			case 6:
				if m.now[from] != 0 {
					must(t, s.Remove(from))
					delete(m.safe, m.now[from])
					m.set(from, 0)
				}
			case 7:
				must(t, s.SyncDir(path.Dir(from)))
				m.syncDir(path.Dir(from))
				if rapid.Bool().Draw(t, "both") {
					must(t, errors.Join(s.SyncDir("a"), s.SyncDir("b")))
					m.syncAll()
				}
			case 8:
				s.PowerCut(Mix)
				m.compare(t, s, names)
			}
		}
		s.PowerCut(Mix)
		m.compare(t, s, names)
	})
}
