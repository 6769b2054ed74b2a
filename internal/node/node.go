// Package node wires a node: it builds the parts in order, lets them follow
// the metadata, and takes them down in the reverse order.
//
// Duty: nothing but wiring. Every decision lives in a part; this package says
// who knows whom, who is told first, and what happens on the way up and down.
//
// Invariants: a listener opens only when everything behind it is ready; on the
// way down listeners close first and data directories last, so that what was
// acknowledged is in plain Kafka files when Close returns.
//
// Called by package moldau, moldautest and internal/sim. It must never hold
// state that a part could hold.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/broker"
	"github.com/moldau/moldau/internal/node/coordinator"
	"github.com/moldau/moldau/internal/node/partition"
	"github.com/moldau/moldau/internal/node/quorum"
)

// closeGrace is how long Close lets answers on their way go out.
const closeGrace = 2 * time.Second

// Options are what a node runs on.
type Options struct {
	Config *config.BrokerConfig
	FS     vfs.FS
	World  clock.World
	Logger *slog.Logger
	// NoListeners runs the node without sockets: requests come by Handler.
	NoListeners bool
}

// Node is a running node.
type Node struct {
	o      Options
	config atomic.Pointer[config.BrokerConfig]
	stores []*commitlog.Store
	quorum *quorum.Quorum
	table  *partition.Table
	groups *coordinator.Groups
	broker *broker.Broker
	server *edge.Server
	addr   string

	failOnce sync.Once
	failed   chan error
}
