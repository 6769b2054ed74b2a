package quorum

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
)

// metaFile says in each data directory whose it is.
const metaFile = "meta.properties"

// maxMetaBytes bounds it; a real one has about 120 bytes.
const maxMetaBytes = 64 << 10

// properties is the content of a meta.properties file.
type properties struct {
	clusterID string
	nodeID    int32 // -1 when the file does not say
	directory wire.UUID
}

// encode writes version 1 of the file; the line order is fixed, which Kafka does not need.
func (p properties) encode() []byte {
	return fmt.Appendf(nil, "version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", p.clusterID, p.nodeID, p.directory)
}

// decodeProperties reads version 1, or version 0 of Kafka's ZooKeeper days (which has no directory id).
func decodeProperties(b []byte) (properties, error) {
	p := properties{nodeID: -1}
	lines, err := config.ParseProperties(b)
	if err != nil {
		return p, err
	}
	version := ""
	for _, line := range lines {
		switch line.Key {
		case "version":
			version = line.Value
		case "cluster.id":
			p.clusterID = line.Value
		case "node.id", "broker.id":
			n, err := strconv.ParseInt(line.Value, 10, 32)
			if err != nil || n < 0 {
				return p, fmt.Errorf("its %s %q is not a number from 0 on", line.Key, line.Value)
			}
			p.nodeID = int32(n)
		case "directory.id":
			id, err := wire.ParseUUID(line.Value)
			if err != nil || id.Reserved() {
				return p, fmt.Errorf("its directory.id %q is no identifier of a directory", line.Value)
			}
			p.directory = id
		}
	}
	if version != "0" && version != "1" {
		return p, fmt.Errorf("its version is %q; 0 and 1 are known", version)
	}
	if version == "1" && p.clusterID == "" {
		return p, errors.New("it names no cluster.id")
	}
	return p, nil
}

// Identity is whose the data directories are.
type Identity struct {
	// ClusterID is "" when no directory is formatted.
	ClusterID string
	NodeID    int32
	// Directories has the id of each formatted directory by its path.
	Directories map[string]wire.UUID
	// Empty are the directories that nothing is in yet, in the order given.
	Empty []string
}

// Identify reads meta.properties of all data directories and checks that they
// belong together, to this node and, if clusterID is not empty, to that cluster. It
// changes nothing.
func Identify(fs vfs.FS, dirs []string, nodeID int32, clusterID string) (*Identity, error) {
	id := &Identity{NodeID: nodeID, Directories: map[string]wire.UUID{}}
	named, witness := clusterID, "the configured cluster id"
	for _, dir := range dirs {
		p, found, err := readProperties(fs, dir)
		if err != nil {
			return nil, err
		}
		if !found {
			id.Empty = append(id.Empty, dir)
			continue
		}
		path := filepath.Join(dir, metaFile)
		switch {
		case p.nodeID >= 0 && p.nodeID != nodeID:
			return nil, fmt.Errorf("%s belongs to node %d, but this node is %d: correct node.id or give the node its own directory", path, p.nodeID, nodeID)
		case p.clusterID != "" && named != "" && p.clusterID != named:
			return nil, fmt.Errorf("%s belongs to cluster %s, but %s is %s: point log.dirs to directories of one cluster", path, p.clusterID, witness, named)
		}
		if named == "" && p.clusterID != "" {
			named, witness = p.clusterID, "the cluster of "+dir
		}
		for other, taken := range id.Directories {
			if taken == p.directory && !taken.IsZero() {
				a, b := min(other, dir), max(other, dir)
				return nil, fmt.Errorf("%s and %s have the same directory.id %s, so one is a copy of the other: remove one from log.dirs, or delete the copy's data",
					a, b, taken)
			}
		}
		id.ClusterID = p.clusterID
		id.Directories[dir] = p.directory
	}
	id.ClusterID = named
	if len(id.Directories) == 0 {
		id.ClusterID = ""
	}
	return id, nil
}

// readProperties reads a directory's file; found is false when the directory is empty or does not exist.
func readProperties(fs vfs.FS, dir string) (p properties, found bool, err error) {
	path := filepath.Join(dir, metaFile)
	b, err := vfs.ReadFile(fs, path, maxMetaBytes)
	if errors.Is(err, vfs.ErrNotExist) {
		return p, false, checkEmpty(fs, dir)
	}
	if err != nil {
		return p, false, fmt.Errorf("%s cannot be read: %w; correct its permissions or the disk, or take %s out of log.dirs", path, err, dir)
	}
	if p, err = decodeProperties(b); err != nil {
		return p, false, fmt.Errorf("%s is damaged: %w; restore it from another data directory of the node (each has its own directory.id)", path, err)
	}
	return p, true, nil
}

// halfFormatted are the names that a format leaves when it is cut short, and what is in every directory anyway.
var halfFormatted = []string{
	".lock", "lost+found", bootstrapFile, bootstrapFile + partSuffix, metaFile + ".tmp", logDirectory,
}

// checkEmpty refuses to format a directory that holds somebody's data.
func checkEmpty(fs vfs.FS, dir string) error {
	entries, err := fs.List(dir)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be read: %w; correct its permissions or the disk, or take it out of log.dirs", dir, err)
	}
	for _, e := range entries {
		strange := !slices.Contains(halfFormatted, e.Name)
		if e.Name == logDirectory {
			strange = holdsLog(fs, filepath.Join(dir, e.Name))
		}
		if strange {
			return fmt.Errorf("data directory %s has no %s but is not empty (it has %s): restore the file, or choose an empty directory", dir, metaFile, e.Name)
		}
	}
	return nil
}

// holdsLog tells whether a metadata log directory has more than a format puts there.
func holdsLog(fs vfs.FS, dir string) bool {
	entries, err := fs.List(dir)
	return err != nil || slices.ContainsFunc(entries, func(e vfs.Entry) bool {
		return !strings.HasPrefix(e.Name, snapshotID{}.name())
	})
}

// NewID draws an identifier as Kafka does: not reserved, and with a text that does not begin with a dash, which
// command lines would take for an option.
func NewID(r clock.Rand) wire.UUID {
	for {
		id := wire.UUID(clock.UUIDBits(r))
		if id.String()[0] != '-' && !id.Reserved() {
			return id
		}
	}
}
