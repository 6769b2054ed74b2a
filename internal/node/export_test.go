package node

import (
	"log/slog"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/node/broker"
	"github.com/moldau/moldau/internal/node/telemetry"
)

// Image is the committed metadata.
func (n *Node) Image() *metadata.Image { return n.quorum.Image() }

// DirectoryID is the id of a data directory.
func (n *Node) DirectoryID(path string) wire.UUID { return n.identity.Directories[path] }

// Telemetry is what clients pushed.
func (n *Node) Telemetry() *telemetry.Table { return n.telemetry }

// Level is the log's level.
func (n *Node) Level() slog.Level { return n.o.LogLevel.Level() }

// SetRules has the authorizer decide by these rules.
func (n *Node) SetRules(s *acl.Set) { n.authorizer.SetRules(s) }

// Usage is what the authorizer remembers of a principal.
func (n *Node) Usage(principal string) []broker.UsageEntry { return n.authorizer.Usage(principal) }
