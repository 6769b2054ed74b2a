package commitlog

import (
	"errors"
	"sync"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// fileCache bounds the open descriptors of one store. Files are opened when they
// are needed; when too many are open, those that nobody holds and nobody used lately
// are closed.
type fileCache struct {
	fs    vfs.FS
	limit int

	mu   sync.Mutex // guards open and hand; never held while a handle's mutex is waited for
	open []*handle
	hand int
}

// handle is one file that may be open. It stays usable while it is held, even after its file was deleted.
type handle struct {
	path string

	mu   sync.Mutex // guards what follows
	file vfs.File
	refs int
	used bool // since the cache's hand last passed
	dead bool // close at the last release
}

// errReplaced says that the file is not the log's any more: retention or compaction was faster. Who looks again finds what
// took its place.
var errReplaced = errors.New("the segment has been replaced")

// pin makes the handle of a file that is still to get its name, and holds it: until release it is never opened by its path.
func (c *fileCache) pin(h *handle, path string) (vfs.File, error) {
	f, err := c.fs.Edit(path)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.file, h.used = f, true
	h.refs++
	h.mu.Unlock()
	c.add(h)
	return f, nil
}

// hold opens the file if it is not, and keeps it open until release. A missing file is created. It is an errReplaced for a
// handle that was forgotten.
func (c *fileCache) hold(h *handle) (vfs.File, error) {
	h.mu.Lock()
	if h.file != nil {
		h.refs++
		h.used = true
		f := h.file
		h.mu.Unlock()
		return f, nil
	}
	if h.dead {
		h.mu.Unlock()
		return nil, errReplaced
	}
	f, err := c.fs.Edit(h.path)
	if err != nil {
		h.mu.Unlock()
		return nil, err
	}
	h.file, h.used = f, true
	h.refs++
	h.mu.Unlock()
	c.add(h)
	return f, nil
}

// release gives the file back.
func (h *handle) release() {
	h.mu.Lock()
	h.refs--
	var f vfs.File
	if h.refs == 0 && h.dead {
		f, h.file = h.file, nil
	}
	h.mu.Unlock()
	if f != nil {
		_ = f.Close() // The file is deleted: nothing is left to be lost.
	}
}

// add enters an opened handle and closes others when there are too many.
func (c *fileCache) add(h *handle) {
	c.mu.Lock()
	c.open = append(c.open, h)
	var gone []vfs.File
	for tries := 2 * len(c.open); len(c.open) > c.limit && tries > 0; tries-- {
		if c.hand >= len(c.open) {
			c.hand = 0
		}
		v := c.open[c.hand]
		if v == h || !v.mu.TryLock() {
			c.hand++
			continue
		}
		switch {
		case v.file == nil:
			c.drop(c.hand)
		case v.refs > 0 || v.used:
			v.used = false
			c.hand++
		default:
			gone = append(gone, v.file)
			v.file = nil
			c.drop(c.hand)
		}
		v.mu.Unlock()
	}
	c.mu.Unlock()
	for _, f := range gone {
		_ = f.Close() // Nothing unsynced is lost: files with unsynced bytes are held.
	}
}

func (c *fileCache) drop(i int) {
	last := len(c.open) - 1
	c.open[i], c.open[last] = c.open[last], nil
	c.open = c.open[:last]
}

// forget closes the file as soon as nobody holds it, and for good.
func (h *handle) forget() {
	h.mu.Lock()
	h.dead = true
	var f vfs.File
	if h.refs == 0 {
		f, h.file = h.file, nil
	}
	h.mu.Unlock()
	if f != nil {
		_ = f.Close() // As in release.
	}
}

// closeIdle closes every file that nobody holds.
func (c *fileCache) closeIdle() {
	c.mu.Lock()
	var gone []vfs.File
	for i := 0; i < len(c.open); {
		h := c.open[i]
		h.mu.Lock()
		if h.refs == 0 {
			if h.file != nil {
				gone = append(gone, h.file)
			}
			h.file = nil
			c.drop(i)
		} else {
			i++
		}
		h.mu.Unlock()
	}
	c.mu.Unlock()
	for _, f := range gone {
		_ = f.Close() // As in add.
	}
}

// closeAll closes every file, held or not.
func (c *fileCache) closeAll() {
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for _, h := range open {
		h.mu.Lock()
		f := h.file
		h.file = nil
		h.mu.Unlock()
		if f != nil {
			_ = f.Close() // Synced before, or the store is being abandoned.
		}
	}
}
