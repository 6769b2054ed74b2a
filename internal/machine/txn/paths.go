package txn

import "math/bits"

// Use is what a producer uses a connection for. Clients of some libraries have a connection for each.
type Use uint8

// The uses.
const (
	// UseCoordinator is for AddPartitionsToTxn, AddOffsetsToTxn and EndTxn.
	UseCoordinator Use = iota
	// UseProduce is for transactional records.
	UseProduce
	// UseOffsets is for TxnOffsetCommit.
	UseOffsets
	useCount
)

const (
	// maxPaths bounds the producers of which connections are known: those that were heard of longest ago are
	// forgotten, a half of all at a time.
	maxPaths = 1 << 16
	// mostLate is how many requests may arrive late on one connection: a client has that many under way at most.
	mostLate = 5
)

// path is how one producer reaches this node.
type path struct {
	newest [useCount]uint64 // connections
	// shared has a bit for each use that was seen on a connection together with another.
	shared  uint8
	epoch   int16
	refused uint8  // requests that were refused on the connection
	older   uint64 // it
}

// Paths tells requests that come late by the connection that they come on (KAFKA-17754): a client that has waited long
// enough for an answer connects again and repeats its request there, and does not go back to the connection that it has
// given up. What still arrives on that is of an earlier time, while the newer one may belong to another transaction already.
//
// A request on an older connection is refused with an error that a client repeats. One that is still there does so: when
// as many have been refused as a client can have under way, those that follow are taken, so that clients with several
// connections for one use get on.
//
// Connections are numbered in the order in which they were accepted. Paths is for producers that keep their epoch from
// transaction to transaction; the zero value is ready. It is not for use by several at once.
type Paths struct {
	young, old map[int64]*path
}

// Late says whether a request of a producer is of an earlier time.
func (s *Paths) Late(p Producer, use Use, connection uint64) bool {
	w := s.path(p)
	if p.Epoch < w.epoch {
		return false // fenced in any case
	}
	if p.Epoch > w.epoch {
		*w = path{epoch: p.Epoch}
	}
	for other := range useCount {
		if other != use && w.newest[other] == connection {
			w.shared |= 1<<use | 1<<other
		}
	}
	newest := w.newest[use]
	if w.shared&(1<<use) != 0 {
		for rest := w.shared; rest != 0; rest &= rest - 1 {
			newest = max(newest, w.newest[bits.TrailingZeros8(rest)])
		}
	}
	if connection < newest {
		if w.older != connection {
			w.older, w.refused = connection, 0
		}
		if w.refused++; w.refused <= mostLate {
			return true
		}
		w.shared = 0
	}
	w.newest[use], w.refused, w.older = connection, 0, 0
	return false
}

// path finds a producer's path, or makes one.
func (s *Paths) path(p Producer) *path {
	if w := s.young[p.ID]; w != nil {
		return w
	}
	w := s.old[p.ID]
	if w == nil {
		w = &path{epoch: p.Epoch}
	}
	if s.young == nil || len(s.young) >= maxPaths/2 {
		s.old, s.young = s.young, map[int64]*path{}
	}
	delete(s.old, p.ID)
	s.young[p.ID] = w
	return w
}
