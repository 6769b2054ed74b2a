package vfs

import (
	"maps"
	"slices"
)

// The content of a simulated file is kept in pages of 4 KiB, each of eight
// units of 512 bytes: the sectors of one kind of disk, an eighth of one of the other.
const (
	pageBytes  = 4096
	unitBytes  = 512
	chunkPages = 64
	allUnits   = 0xff
)

// page is 4 KiB of a file. Its slices may be shorter: what is missing is zero.
type page struct {
	index int64
	// data is what a reader sees.
	data []byte
	// disk is what is on the platter, in units marked in dirty or lying; in all
	// others it is data.
	disk []byte
	// between has, in the units marked in betweens, a version that was written
	// after the last sync and overwritten since: write-back may have stored it.
	between  []byte
	betweens uint8
	// dirty units are written and not synced.
	dirty uint8
	// lying units were dirty when a sync failed: the cache shows them as clean,
	// the platter has never seen them.
	lying  uint8
	listed bool
}

// chunk is 256 KiB of a file.
type chunk struct {
	pages [chunkPages]*page
	// allocated marks the pages that have a block on disk, written or preallocated.
	allocated uint64
}

// pages is the content of one file.
type pages struct {
	size, diskSize int64
	allocated      int64
	chunks         map[int64]*chunk
	// volatile lists the pages with dirty or lying units.
	volatile []*page
}

// get finds a page or nil.
func (f *pages) get(index int64) *page {
	if c := f.chunks[index/chunkPages]; c != nil {
		return c.pages[index%chunkPages]
	}
	return nil
}

func (f *pages) chunk(index int64) *chunk {
	c := f.chunks[index/chunkPages]
	if c == nil {
		if f.chunks == nil {
			f.chunks = map[int64]*chunk{}
		}
		c = &chunk{}
		f.chunks[index/chunkPages] = c
	}
	return c
}

// make finds a page or makes one of zeros.
func (f *pages) make(index int64) *page {
	c := f.chunk(index)
	p := c.pages[index%chunkPages]
	if p == nil {
		p = &page{index: index}
		c.pages[index%chunkPages] = p
	}
	return p
}

// allocate gives blocks to the pages of [from, to) until the budget of bytes is
// spent, and tells up to where they have one and how many bytes that took.
func (f *pages) allocate(from, to, budget int64) (until, took int64) {
	for i := from / pageBytes; i*pageBytes < to; i++ {
		c, bit := f.chunk(i), uint64(1)<<(i%chunkPages)
		if c.allocated&bit != 0 {
			continue
		}
		if took+pageBytes > budget {
			f.allocated += took
			return max(from, i*pageBytes), took
		}
		c.allocated |= bit
		took += pageBytes
	}
	f.allocated += took
	return to, took
}

// missing tells how many bytes of blocks [from, to) still needs.
func (f *pages) missing(from, to int64) int64 {
	var need int64
	for i := from / pageBytes; i*pageBytes < to; i++ {
		c := f.chunks[i/chunkPages]
		if c == nil || c.allocated&(1<<(i%chunkPages)) == 0 {
			need += pageBytes
		}
	}
	return need
}

// read fills b from off; what was never written is zero.
func (f *pages) read(b []byte, off int64) {
	for len(b) > 0 {
		at := int(off % pageBytes)
		n := min(len(b), pageBytes-at)
		copied := 0
		if p := f.get(off / pageBytes); p != nil && at < len(p.data) {
			copied = copy(b[:n], p.data[at:])
		}
		clear(b[copied:n])
		b, off = b[n:], off+int64(n)
	}
}

// write puts b at off. The blocks have been allocated.
func (f *pages) write(b []byte, off int64, d *dice) {
	f.size = max(f.size, off+int64(len(b)))
	for len(b) > 0 {
		at := int(off % pageBytes)
		n := min(len(b), pageBytes-at)
		p := f.make(off / pageBytes)
		f.soil(p, at, at+n, d)
		p.data = reach(p.data, at+n)
		copy(p.data[at:], b[:n])
		b, off = b[n:], off+int64(n)
	}
}

// dice is what the disk's kind and chance decide.
type dice struct {
	*chance
	sector int
}

// soil marks the units of [from, to) in a page as written, and keeps what the
// platter has there.
func (f *pages) soil(p *page, from, to int, d *dice) {
	if d.sector == Sector4K {
		from, to = 0, pageBytes
	}
	stored := false
	for u := from / unitBytes; u*unitBytes < to; u++ {
		bit := uint8(1) << u
		switch {
		case p.dirty&bit != 0:
			if u*unitBytes%d.sector == 0 {
				stored = d.oneIn(4) // The units of a sector share their fate.
			}
			if stored {
				// Write-back came by: this version may be what is found after a power cut.
				p.between = keepUnit(p.between, p.data, u)
				p.betweens |= bit
			}
		case p.lying&bit != 0:
			p.lying &^= bit
		default:
			p.disk = keepUnit(p.disk, p.data, u)
		}
		p.dirty |= bit
	}
	if !p.listed {
		p.listed = true
		f.volatile = append(f.volatile, p)
	}
}

// keepUnit copies one unit of a page from one content to another.
func keepUnit(to, from []byte, u int) []byte {
	start, end := u*unitBytes, (u+1)*unitBytes
	if start < len(from) {
		to = reach(to, end)
		n := copy(to[start:end], from[start:])
		clear(to[start+n : end])
	} else if start < len(to) {
		clear(to[start:min(end, len(to))])
	}
	return to
}

// reach makes b at least n bytes long, in steps that double, of at most a page.
func reach(b []byte, n int) []byte {
	if n <= len(b) {
		return b
	}
	size := unitBytes
	for size < n {
		size *= 2
	}
	grown := make([]byte, size)
	copy(grown, b)
	return grown
}

// truncate sets the size and gives the bytes of blocks that became free. What is
// cut off reads as zero should the file grow again.
func (f *pages) truncate(size int64, d *dice) (freed int64) {
	if size < f.size {
		f.each(size/pageBytes, func(p *page) {
			at := int(max(0, size-p.index*pageBytes))
			f.soil(p, at, pageBytes, d)
			if at == 0 {
				p.data = nil
			} else if at < len(p.data) {
				clear(p.data[at:])
			}
		})
		freed = f.release(size)
	}
	f.size = size
	return freed
}

// each calls do for the pages from index on, in order.
func (f *pages) each(index int64, do func(p *page)) {
	for _, number := range slices.Sorted(maps.Keys(f.chunks)) {
		c := f.chunks[number]
		for i, p := range c.pages {
			if p != nil && number*chunkPages+int64(i) >= index {
				do(p)
			}
		}
	}
}

// release takes the blocks beyond size back.
func (f *pages) release(size int64) (freed int64) {
	first := (size + pageBytes - 1) / pageBytes
	for number, c := range f.chunks {
		for i := range int64(chunkPages) {
			if bit := uint64(1) << i; number*chunkPages+i >= first && c.allocated&bit != 0 {
				c.allocated &^= bit
				freed += pageBytes
			}
		}
	}
	f.allocated -= freed
	return freed
}

// sync makes all that is dirty durable. Lying units stay what they are: the
// kernel takes them for clean.
func (f *pages) sync() {
	f.diskSize = f.size
	f.settle(func(p *page) {
		p.dirty, p.betweens, p.between = 0, 0, nil
		if p.index*pageBytes >= f.size {
			p.lying = 0
			f.drop(p)
		}
	})
}

// syncFailed is what Linux does when write-back fails: the dirty pages become
// clean without having been written. Some are dropped, so that reads show the old
// content, some stay in the cache and keep up the appearance until a restart.
// What lies beyond the size was cut off, not written: that may still succeed.
func (f *pages) syncFailed(d *dice) {
	f.settle(func(p *page) {
		rest := f.size - p.index*pageBytes
		if rest <= 0 {
			return
		}
		if d.sector == Sector4K {
			rest = pageBytes
		}
		dropped := d.oneIn(2)
		for u := 0; u < pageBytes/unitBytes && int64(u*unitBytes) < rest; u++ {
			bit := uint8(1) << u
			switch {
			case p.dirty&bit == 0:
				continue
			case dropped:
				p.data = keepUnit(p.data, p.disk, u)
			default:
				p.lying |= bit
			}
			p.dirty &^= bit
			p.betweens &^= bit
		}
		if end := f.size - p.index*pageBytes; end < int64(len(p.data)) {
			clear(p.data[end:])
		}
	})
}

// settle runs do on the volatile pages and forgets those that are so no longer.
func (f *pages) settle(do func(p *page)) {
	kept := f.volatile[:0]
	for _, p := range f.volatile {
		do(p)
		if p.dirty|p.lying != 0 {
			kept = append(kept, p)
		} else {
			p.listed, p.disk = false, nil
		}
	}
	clear(f.volatile[len(kept):])
	f.volatile = kept
	if len(kept) == 0 {
		f.volatile = nil
	}
}

func (f *pages) drop(p *page) {
	c := f.chunks[p.index/chunkPages]
	c.pages[p.index%chunkPages] = nil
	if *c == (chunk{}) {
		delete(f.chunks, p.index/chunkPages)
	}
}

// cut is what a power cut leaves: each unsynced sector old, new, a version
// between, or torn, as fate says; and the size old, new, or on the way.
func (f *pages) cut(data, size *fate, d *dice) {
	f.settle(func(p *page) {
		step := 1
		if d.sector == Sector4K {
			step = pageBytes / unitBytes
		}
		for u := 0; u < pageBytes/unitBytes; u += step {
			p.cutSector(u, step, data, d)
		}
		p.dirty, p.lying, p.betweens, p.between = 0, 0, 0, nil
	})
	now := f.diskSize
	switch {
	case !size.keeps():
	case f.size > f.diskSize && size.mixed && d.oneIn(4):
		now += d.below(f.size - f.diskSize)
	default:
		now = f.size
	}
	f.cutSize(now)
}

// cutSector settles the units [u, u+step), one sector, of a page.
func (p *page) cutSector(u, step int, data *fate, d *dice) {
	bit := uint8(1) << u
	if (p.dirty|p.lying)&bit == 0 {
		return
	}
	from, to := u*unitBytes, (u+step)*unitBytes
	if p.dirty&bit != 0 && data.keeps() {
		if !data.mixed {
			return
		}
		switch d.below(8) {
		case 0: // Torn: the front is new, the rest is old.
			from += 1 + int(d.below(int64(to-from-1)))
		case 1: // Torn: the rest is new, the front is old.
			to = from + 1 + int(d.below(int64(to-from-1)))
		case 2:
			p.betweenVersion(u, step)
			return
		default:
			return
		}
	}
	restore(p, p.disk, from, to)
}

// betweenVersion brings back what write-back may have stored, where there is such a version.
func (p *page) betweenVersion(u, step int) {
	for ; step > 0; u, step = u+1, step-1 {
		if p.betweens&(1<<u) != 0 {
			restore(p, p.between, u*unitBytes, (u+1)*unitBytes)
		}
	}
}

// restore puts the bytes [from, to) of an older content into a page.
func restore(p *page, old []byte, from, to int) {
	if from < len(old) {
		p.data = reach(p.data, min(to, len(old)))
	}
	if from >= len(p.data) {
		return
	}
	to = min(to, len(p.data))
	n := 0
	if from < len(old) {
		n = copy(p.data[from:to], old[from:])
	}
	clear(p.data[from+n : to])
}

// cutSize gives the file the size that the disk has; nothing beyond it survives.
func (f *pages) cutSize(size int64) {
	f.each(size/pageBytes, func(p *page) {
		at := max(0, size-p.index*pageBytes)
		if at == 0 {
			f.drop(p)
		} else if at < int64(len(p.data)) {
			clear(p.data[at:])
		}
	})
	f.size, f.diskSize = size, size
	f.release(size)
	f.each(0, func(p *page) { f.allocate(p.index*pageBytes, p.index*pageBytes+1, pageBytes) })
}

// flip turns one bit over, wherever the byte is kept: the platter is at fault,
// and no cache hides it.
func (f *pages) flip(off int64, bit uint8) {
	p, at := f.make(off/pageBytes), int(off%pageBytes)
	p.data = reach(p.data, at+1)
	p.data[at] ^= 1 << bit
	if at < len(p.disk) {
		p.disk[at] ^= 1 << bit
	}
}
