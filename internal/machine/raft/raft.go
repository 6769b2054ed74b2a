// Package raft is the protocol machine of the metadata quorum.
//
// Duty: it says when this node must make its vote and epoch durable, when it may lead,
// what the first record of its epoch is, and how far the log is committed. As in
// etcd's raft the shell feeds events (Timeout, Stable), takes effects (Ready) and
// tells when they are carried out (Done).
//
// Invariants: an epoch is durable before anything is written in it; the high
// watermark never goes back, and does not move in an epoch before the leader's own first
// record is stable (a record of an older epoch is committed only through one of the
// present epoch); the leader's own log counts only as far as it is synced.
//
// Called by node/quorum, under its lock. It must never do I/O, ask the time, or hold
// what is in the log. It is KIP-595 and KIP-853 for a quorum of one voter; a log whose voters are others
// is refused by [New].
package raft

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// NoNode stands for "nobody" in an Election.
const NoNode int32 = -1

// Election is what a node must remember of elections: the quorum-state file.
type Election struct {
	Epoch  int32
	Leader int32
	// Voted is whom this node voted for in the epoch, under kraft.version 1 with its directory.
	Voted          int32
	VotedDirectory wire.UUID
}

// Voter is a member of the quorum. Directory is zero under kraft.version 0, which does not know it.
type Voter struct {
	ID        int32
	Directory wire.UUID
}

// Config is who this node is and who votes.
type Config struct {
	Self   Voter
	Voters []Voter
}

// Ready is what the shell has to do, in the order of the fields.
type Ready struct {
	// Store must become durable before anything else is done; nil when nothing changed.
	Store *Election
	// Lead: append the leader change record of the epoch, before any other record of it.
	Lead bool
	// HighWatermark is the offset below which everything is committed.
	HighWatermark int64
}

// Raft is the state of one node.
type Raft struct {
	config   Config
	election Election
	elected  bool  // since this node started
	stored   bool  // the election is durable
	leading  bool  // the leader change record was asked for
	begin    int64 // its offset
	end      int64 // the log is stable below this
	high     int64
}

// New starts from what is durable: the election (the zero one with Epoch 0, and Leader and Voted NoNode, for a new
// node), the epoch of the log's last record, and the log's stable end.
func New(c Config, e Election, logEpoch int32, end int64) (*Raft, error) {
	if len(c.Voters) != 1 {
		return nil, fmt.Errorf("the metadata quorum has %d voters; this release runs a quorum of one", len(c.Voters))
	}
	v := c.Voters[0]
	if v.ID != c.Self.ID || !v.Directory.IsZero() && v.Directory != c.Self.Directory {
		return nil, fmt.Errorf("the only voter of the metadata quorum is node %d with directory %s, this is node %d with directory %s",
			v.ID, v.Directory, c.Self.ID, c.Self.Directory)
	}
	e.Epoch = max(e.Epoch, logEpoch)
	return &Raft{config: c, election: e, end: end, stored: true}, nil
}

// Epoch is the present epoch.
func (r *Raft) Epoch() int32 { return r.election.Epoch }

// Leader is the leader's id once its election is durable, NoNode before.
func (r *Raft) Leader() int32 {
	if !r.leading {
		return NoNode
	}
	return r.election.Leader
}

// HighWatermark is the offset below which everything is committed.
func (r *Raft) HighWatermark() int64 { return r.high }

// Timeout tells that no leader was heard of for the election timeout. The only voter elects itself.
func (r *Raft) Timeout() {
	r.election = Election{Epoch: r.election.Epoch + 1, Leader: r.config.Self.ID, Voted: NoNode}
	r.elected, r.stored, r.leading = true, false, false
}

// Stable tells that the log is synced below an offset.
func (r *Raft) Stable(end int64) {
	invariant.Check(end >= r.end, "raft: the stable end went back from %d to %d", r.end, end)
	r.end = end
	if r.leading && end > r.begin {
		r.high = end
	}
}

// Ready gives what is to be done now.
func (r *Raft) Ready() Ready {
	ready := Ready{HighWatermark: r.high}
	switch {
	case !r.stored:
		e := r.election
		ready.Store = &e
	case r.elected && !r.leading:
		ready.Lead = true
	}
	return ready
}

// Done tells that the effects were carried out; for Lead, begin is the offset that the record will have.
func (r *Raft) Done(done Ready, begin int64) {
	if done.Store != nil {
		r.stored = true
	}
	if done.Lead {
		r.leading, r.begin = true, begin
	}
}
