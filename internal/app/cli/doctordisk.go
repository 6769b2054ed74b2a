package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
)

const (
	// fullShare and fullBytes are below which free space is a warning.
	fullShare = 0.10
	fullBytes = 2 << 30
	// clockSlack is how far times may differ before that is told.
	clockSlack = 5 * time.Second
	// maxLookedAt bounds the files whose times are looked at in each directory.
	maxLookedAt = 10_000
	// metaFile is Kafka's file that says whose a data directory is.
	metaFile = "meta.properties"
)

// owner is what a directory's meta.properties says.
type owner struct{ dir, node, cluster, directory string }

// checkDirectories looks at the data directories.
func (d *doctor) checkDirectories() {
	var owners []owner
	for _, dir := range d.cfg.LogDirs() {
		if o, ok := d.checkDirectory(filepath.Clean(dir)); ok {
			owners = append(owners, o)
		}
	}
	const check = "directory"
	for i, a := range owners {
		if id := d.cfg.GetString("node.id"); a.node != "" && a.node != id {
			d.add(check, failure, "correct node.id or log.dirs", "%s belongs to node %s, and this node is %s", a.dir, a.node, id)
		}
		for _, b := range owners[:i] {
			switch {
			case a.cluster != b.cluster && a.cluster != "" && b.cluster != "":
				d.add(check, failure, "point log.dirs to directories of one cluster", "%s belongs to cluster %s, and %s to %s", a.dir, a.cluster, b.dir, b.cluster)
			case a.directory == b.directory && a.directory != "":
				d.add(check, failure, "take one of them out of log.dirs", "%s and %s have the same directory.id: one is a copy of the other", a.dir, b.dir)
			}
		}
	}
}

// checkDirectory looks at one data directory.
func (d *doctor) checkDirectory(dir string) (o owner, found bool) {
	const check = "directory"
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		at := existing(dir)
		if err := writable(at); err != nil {
			d.add(check, failure, "make it, or give this user the right to", "%s is not there and cannot be made in %s: %v", dir, at, err)
		} else {
			d.add(check, fine, "", "%s is not there yet; the node makes it", dir)
		}
		d.checkSpace(at)
		return o, false
	}
	switch {
	case err != nil:
		d.add(check, failure, "correct its permissions, or take it out of log.dirs", "%s cannot be looked at: %v", dir, err)
		return o, false
	case !st.IsDir():
		d.add(check, failure, "name a directory in log.dirs", "%s is a file", dir)
		return o, false
	}
	if err := writable(dir); err != nil {
		d.add(check, failure, "give it to the user that the node runs as", "%s cannot be written to: %v", dir, err)
	}
	d.checkSpace(dir)
	if at, err := filepath.Abs(dir); err == nil && strings.HasPrefix(at, os.TempDir()+string(filepath.Separator)) {
		d.add(check, warning, "set log.dirs to a place that is kept", "%s is among the temporary files: the system may clean it up", dir)
	}
	return d.checkContent(dir)
}

// existing is the nearest directory above that is there.
func existing(dir string) string {
	for {
		up := filepath.Dir(dir)
		if _, err := os.Stat(dir); err == nil || up == dir {
			return dir
		}
		dir = up
	}
}

// checkSpace looks at the volume.
func (d *doctor) checkSpace(dir string) {
	const check = "space"
	total, free, err := vfs.NewOS().Space(dir)
	if err != nil {
		d.add(check, warning, "", "how much space there is for %s cannot be told: %v", dir, err)
		return
	}
	journal := 2 * d.cfg.GetLong("moldau.journal.segment.bytes")
	switch {
	case free < journal:
		d.add(check, failure, "make room, or put log.dirs elsewhere", "%s has %s free: not enough for the journal, which takes %s", dir, size(free), size(journal))
	case free < fullBytes && float64(free) < fullShare*float64(total):
		d.add(check, warning, "make room, or shorten log.retention.ms or log.retention.bytes", "%s has %s of %s free", dir, size(free), size(total))
	default:
		d.add(check, fine, "", "%s has %s of %s free", dir, size(free), size(total))
	}
	if kind, why := volatileVolume(dir); kind != "" {
		d.add(check, warning, "put log.dirs on a local disk", "%s is on %s: %s", dir, kind, why)
	}
}

// checkContent looks at what is in a data directory.
func (d *doctor) checkContent(dir string) (o owner, found bool) {
	const check = "directory"
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.add(check, failure, "correct its permissions", "%s cannot be listed: %v", dir, err)
		return o, false
	}
	text, err := os.ReadFile(filepath.Join(dir, metaFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(entries) == 0:
		d.add(check, fine, "", "%s is empty; the node formats it", dir)
		return o, false
	case errors.Is(err, fs.ErrNotExist):
		d.add(check, failure, "name an empty directory or one of a Kafka node", "%s has no %s and is not empty: it has %s", dir, metaFile, entries[0].Name())
		return o, false
	case err != nil:
		d.add(check, failure, "correct its permissions, or the disk", "%s cannot be read: %v", filepath.Join(dir, metaFile), err)
		return o, false
	}
	props, err := config.ParseProperties(text)
	if err != nil {
		d.add(check, failure, "restore it from another data directory of the node", "%s is damaged: %v", filepath.Join(dir, metaFile), err)
		return o, false
	}
	o.dir = dir
	for _, p := range props {
		switch p.Key {
		case "node.id", "broker.id":
			o.node = p.Value
		case "cluster.id":
			o.cluster = p.Value
		case "directory.id":
			o.directory = p.Value
		}
	}
	d.checkState(dir, entries)
	return o, true
}

// checkState tells whether the directory is in use, and what is left over in it.
func (d *doctor) checkState(dir string, entries []os.DirEntry) {
	const check = "directory"
	clean, served, strays, newest := false, false, 0, time.Time{}
	for i, e := range entries {
		clean = clean || e.Name() == ".kafka_cleanshutdown"
		served = served || e.Name() == "recovery-point-offset-checkpoint"
		if strings.HasSuffix(e.Name(), "-stray") {
			strays++
		}
		if i < maxLookedAt {
			if info, err := e.Info(); err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
	}
	held := lockHeld(filepath.Join(dir, ".lock"))
	d.running = d.running || held
	switch {
	case held:
		d.add(check, fine, "", "%s is in use by a node", dir)
	case !clean && !served:
		d.add(check, fine, "", "%s is formatted and was never served", dir)
	case !clean:
		d.add(check, warning, "", "%s was not closed cleanly; the next start recovers it", dir)
	default:
		d.add(check, fine, "", "%s was closed cleanly", dir)
	}
	if strays > 0 {
		d.add(check, warning, "remove them when nobody misses them", "%s has %s that no topic owns (…-stray)", dir, count(strays, "log"))
	}
	if ahead := newest.Sub(d.clock.Now()); ahead > clockSlack {
		d.add("clock", warning, "correct the clock: records get wrong times, and retention works by them",
			"files in %s are from %v ahead of now: the clock was put back, or was wrong when they were written", dir, ahead.Round(time.Second))
	}
}
