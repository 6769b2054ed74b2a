package quorum

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// bootstrapFile holds the features that a new cluster begins with, for Kafka's releases up to 4.3.
const bootstrapFile = "bootstrap.checkpoint"

// Endpoint is where a listener can be reached.
type Endpoint struct {
	Name     string
	Host     string
	Port     uint16
	Protocol int16 // config.SecurityProtocol's number
}

// FormatOptions is what a node's data directories are made from.
type FormatOptions struct {
	FS    vfs.FS
	World clock.World
	// MetadataDir holds the metadata log; it may be one of Dirs.
	MetadataDir string
	// Dirs are the data directories.
	Dirs   []string
	NodeID int32
	// ClusterID is the cluster to found or to belong to; "" takes what is there, or draws one.
	ClusterID string
	// Voter is the controller listener of this node, as other voters would reach it.
	Voter Endpoint
	// MetadataVersion is the level to begin with, 0 for metadata.DefaultVersion. The other features follow it.
	MetadataVersion int16
	// Features are levels of other features than their defaults.
	Features []metadata.FeatureLevel
	// Scram are the users that the cluster begins with.
	Scram []*wire.UserScramCredentialRecord
}

// Format makes every data directory that is empty a directory of this node, as
// Kafka's `format --standalone` does, and checks those that are formatted. It may be
// called at every start, and again after it was cut short: the directory of the metadata log
// is finished first, and in each directory meta.properties is the last thing written.
func Format(o FormatOptions) (*Identity, error) {
	dirs := slices.Clone(o.Dirs)
	if !slices.Contains(dirs, o.MetadataDir) {
		dirs = append(dirs, o.MetadataDir)
	}
	id, err := Identify(o.FS, dirs, o.NodeID, o.ClusterID)
	if err != nil {
		return nil, err
	}
	if slices.Contains(id.Empty, o.MetadataDir) {
		if len(id.Directories) > 0 {
			return nil, fmt.Errorf("the metadata directory %s is empty although the other data directories belong to cluster %s: restore it or correct metadata.log.dir",
				o.MetadataDir, id.ClusterID)
		}
		if err := o.found(id); err != nil {
			return nil, err
		}
	}
	for _, dir := range id.Empty {
		if dir == o.MetadataDir {
			continue
		}
		if err := o.claim(id, dir, NewID(o.World)); err != nil {
			return nil, err
		}
	}
	id.Empty = nil
	return id, nil
}

// found begins a new cluster in the metadata directory.
func (o *FormatOptions) found(id *Identity) error {
	if id.ClusterID = o.ClusterID; id.ClusterID == "" {
		id.ClusterID = NewID(o.World).String()
	}
	directory := NewID(o.World)
	logDir := filepath.Join(o.MetadataDir, logDirectory)
	if err := makeDir(o.FS, logDir); err != nil {
		return fmt.Errorf("creating the metadata log's directory %s: %w", logDir, err)
	}
	now := clock.Millis(o.World.Now())
	// Differs from Kafka: a new cluster has its voters in the metadata log (kraft.version 1) also when
	// controller.quorum.voters names them, so that they can change later.
	voters := []wire.VotersRecordVoter{{
		VoterID: o.NodeID, VoterDirectoryID: directory,
		Endpoints:           []wire.VotersRecordEndpoint{{Name: o.Voter.Name, Host: o.Voter.Host, Port: o.Voter.Port}},
		KRaftVersionFeature: wire.VotersRecordKRaftVersionFeature{MaxSupportedVersion: 1},
	}}
	first := &snapshot{timestampMs: now, kraftVersion: 1, voters: voters}
	if err := first.write(o.FS, logDir, snapshotID{}.name(), now); err != nil {
		return err
	}
	features := &snapshot{records: bootstrapRecords(o.MetadataVersion, o.Features, o.Scram)}
	if err := features.write(o.FS, o.MetadataDir, bootstrapFile, now); err != nil {
		return err
	}
	return o.claim(id, o.MetadataDir, directory)
}

// bootstrapRecords are the features of a new cluster, and then its users.
func bootstrapRecords(version int16, other []metadata.FeatureLevel, users []*wire.UserScramCredentialRecord) iter.Seq[wire.MetadataRecord] {
	if version == 0 {
		version = metadata.DefaultVersion
	}
	levels := metadata.DefaultFeatures(version)
	for _, f := range other {
		levels = slices.DeleteFunc(levels, func(l metadata.FeatureLevel) bool { return l.Name == f.Name })
		if f.Level > 0 {
			levels = append(levels, f)
		}
	}
	slices.SortStableFunc(levels[1:], func(a, b metadata.FeatureLevel) int { return cmp.Compare(a.Name, b.Name) })
	return func(yield func(wire.MetadataRecord) bool) {
		for _, f := range levels {
			if !yield(&wire.FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Level}) {
				return
			}
		}
		for _, u := range users {
			if !yield(u) {
				return
			}
		}
	}
}

// claim writes a directory's meta.properties.
func (o *FormatOptions) claim(id *Identity, dir string, directory wire.UUID) error {
	if err := makeDir(o.FS, dir); err != nil {
		return fmt.Errorf("creating data directory %s: %w", dir, err)
	}
	p := properties{clusterID: id.ClusterID, nodeID: o.NodeID, directory: directory}
	if err := vfs.WriteFileAtomic(o.FS, filepath.Join(dir, metaFile), p.encode()); err != nil {
		return fmt.Errorf("formatting data directory %s: %w", dir, err)
	}
	id.Directories[dir] = directory
	return nil
}

// makeDir makes a directory and its parents, durably.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir); err != nil {
		return err
	}
	for {
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		if err := fs.SyncDir(parent); err != nil {
			if errors.Is(err, vfs.ErrNotExist) {
				return err
			}
			// A parent that may be entered but not read cannot be synced; then
			// it was not we who put something in it.
			return nil
		}
		dir = parent
	}
}
