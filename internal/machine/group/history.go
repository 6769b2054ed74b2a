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
	of map[string][]HistoryEntry
}

// Remember keeps the events of a call.
func (m *Machine) Remember(now Time, events []Event) {
	h := &m.histories
	for i := range events {
		e := &events[i]
		if h.of == nil {
			h.of = map[string][]HistoryEntry{}
		}
		if len(h.of) >= historyGroups && h.of[e.Group] == nil {
			m.forgetHistories()
		}
		list := h.of[e.Group]
		if len(list) == historyLimit {
			list = append(list[:0], list[1:]...)
		}
		reason := e.Reason
		if len(reason) > reasonLimit {
			reason = reason[:reasonLimit] + "…"
		}
		h.of[e.Group] = append(list, HistoryEntry{now.Wall, e.What, reason, e.Generation, e.Members})
	}
}

// forgetHistories drops those of groups that are gone, or all if that makes no room.
func (m *Machine) forgetHistories() {
	for id := range m.histories.of { //unordered: each stands for itself
		if _, ok := m.TypeOf(id); !ok {
			delete(m.histories.of, id)
		}
	}
	if len(m.histories.of) >= historyGroups {
		clear(m.histories.of)
	}
}

// History gives the last events of a group, the oldest first.
func (m *Machine) History(id string) ([]HistoryEntry, wire.Code) {
	list := m.histories.of[id]
	if _, ok := m.TypeOf(id); !ok && list == nil {
		return nil, wire.GroupIDNotFound
	}
	return slices.Clone(list), wire.None
}
