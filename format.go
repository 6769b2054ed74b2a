package moldau

import (
	"fmt"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/node"
)

// FormatOptions say how the data directories of a node are made before its first start. Start does it by itself; Format is
// for a cluster that shall begin with users, another release or an id of its own.
type FormatOptions struct {
	// Options are those that the node will be started with.
	Options
	// ClusterID is the new cluster's id; empty draws one.
	ClusterID string
	// Release is the metadata.version by Kafka's name, "4.3-IV0" or "4.3"; empty takes the default.
	Release string
	// Features are levels of other features than their defaults, each as NAME=LEVEL.
	Features []string
	// Scram are users that the cluster begins with, each as Kafka's --add-scram has it:
	// SCRAM-SHA-256=[name=alice,password=alice-secret].
	Scram []string
	// IgnoreFormatted lets be what is formatted already; otherwise that is an error.
	IgnoreFormatted bool
}

// Formatted is what Format did.
type Formatted struct {
	ClusterID string
	Release   string
	// Dirs are the directories that were made; none if all were there.
	Dirs []string
	// Users are the users, with their mechanisms.
	Users []string
}

// Format makes the data directories of a new cluster of one node. Nothing is written if an option is wrong.
func Format(o FormatOptions) (*Formatted, error) {
	cfg, _, err := config.Load(o.sources())
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	f, err := node.Format(node.FormatOptions{
		Config: cfg, FS: vfs.NewOS(), World: &clock.Real{}, ClusterID: o.ClusterID, Release: o.Release, Features: o.Features,
		Scram: o.Scram, IgnoreFormatted: o.IgnoreFormatted,
	})
	if err != nil {
		return nil, err
	}
	return &Formatted{ClusterID: f.ClusterID, Release: f.Release, Dirs: f.New, Users: f.Users}, nil
}

// NewClusterID draws an id for a cluster.
func NewClusterID() string { return node.NewClusterID(&clock.Real{}) }
