package node

import (
	"errors"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/httpd"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// history gives what has happened to a group, for people who ask why it rebalanced.
func (n *monitor) history(id string) ([]httpd.Event, error) {
	if _, ok := n.quorum.Image().Topic(coordinator.OffsetsTopic); !ok {
		return nil, httpd.ErrNoGroup // there has never been one
	}
	entries, code := n.groups.History(id)
	switch code {
	case wire.None:
	case wire.GroupIDNotFound:
		return nil, httpd.ErrNoGroup
	case wire.NotCoordinator:
		return nil, httpd.ErrElsewhere
	default:
		return nil, errors.New(code.Message())
	}
	events := make([]httpd.Event, 0, len(entries))
	for _, e := range entries {
		events = append(events, httpd.Event{TimeMs: e.WallMs, What: e.What, Reason: e.Reason, Epoch: e.Generation, Members: e.Members})
	}
	return events, nil
}
