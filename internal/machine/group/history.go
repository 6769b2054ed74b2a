package group

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// HistoryEntry is one event of a group, kept for people who ask why it rebalanced.
type HistoryEntry struct {
	WallMs     int64
	What       string
	Reason     string
	Generation int32 // or epoch
	Members    int
}

const (
	// historyLimit is how many events of a group are kept.
	historyLimit = 32
	// historyGroups bounds the groups whose events are kept. When it is reached, those of groups that are gone go.
	historyGroups = 65_536
	// reasonLimit bounds a reason, which may have words of clients in it.
	reasonLimit = 512
)

// histories are the last events of the groups of a machine. They are not written anywhere: a new coordinator begins
// without them.
type histories struct {
	machine *Machine
	events  map[string][]HistoryEntry
}

// Remember keeps the events of a call.
func (h *histories) Remember(now Time, events []Event) {
	for i := range events {
		e := &events[i]
		if h.events == nil {
			h.events = map[string][]HistoryEntry{}
		}
		if len(h.events) >= historyGroups && h.events[e.Group] == nil {
			h.prune()
		}
		list := h.events[e.Group]
		if len(list) == historyLimit {
			list = append(list[:0], list[1:]...)
		}
		reason := e.Reason
		if len(reason) > reasonLimit {
			reason = reason[:reasonLimit] + "…"
		}
		h.events[e.Group] = append(list, HistoryEntry{now.Wall, e.What, reason, e.Generation, e.Members})
	}
}

// prune drops those of groups that are gone, or all if that makes no room.
func (h *histories) prune() {
	for id := range h.events { //unordered: each stands for itself
		if _, ok := h.machine.TypeOf(id); !ok {
			delete(h.events, id)
		}
	}
	if len(h.events) >= historyGroups {
		clear(h.events)
	}
}

// History gives the last events of a group, the oldest first.
func (h *histories) History(id string) ([]HistoryEntry, wire.Code) {
	list := h.events[id]
	if _, ok := h.machine.TypeOf(id); !ok && list == nil {
		return nil, wire.GroupIDNotFound
	}
	return slices.Clone(list), wire.None
}
