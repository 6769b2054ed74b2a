package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// simGroup is a group as its members know it.
type simGroup struct {
	r  *groupRun
	id string
	// classic and modern are the protocols that its members speak; classic members give up all partitions before they join
	// anew unless they are cooperative.
	classic, modern, cooperative bool
	members                      []*groupMember
	commits                      [groupParts]ledger
	fresh                        [groupParts]bool // committed since peace began
	kind, state                  string           // as ListGroups has it
}

// memberStage is what a member does next.
type memberStage int

const (
	memberJoins memberStage = iota
	memberSyncs
	memberWorks // a member that speaks KIP-848 always works
)

// groupMember is one client of a group.
type groupMember struct {
	port
	g        *simGroup
	name     string
	births   int
	instance *string
	modern   bool

	id    string
	epoch int32 // or generation
	stage memberStage
	owned []int32
	// heard is when the last request was sent whose answer confirmed the membership; zero if the member cannot be sure.
	heard time.Time
	sent  time.Time // when the request in flight was
	// joined is when the last join was sent that succeeded.
	joined time.Time
	until  time.Time // it sleeps
	next   time.Time // when it beats
	// full has the next heartbeat tell everything, told that the owned partitions are not reported yet.
	full, told bool
	protocol   string
	plan       []wire.SyncGroupRequestAssignment // the leader's
	last       wire.Code
}

// forget is a new process: nothing is known of an earlier one.
func (m *groupMember) forget() {
	m.births++
	m.id, m.epoch, m.stage, m.owned, m.full = "", 0, memberJoins, nil, true
	if m.modern {
		m.id, m.stage = fmt.Sprintf("%s-%d", m.name, m.births), memberWorks
	}
	m.heard, m.next = time.Time{}, time.Time{}
}

// unsure is after an answer that did not come.
func (m *groupMember) unsure() {
	if m.busy || m.sent.After(m.heard) {
		m.full = true
	}
}

// steady tells that the member has work and knows it.
func (m *groupMember) steady() bool {
	return m.stage == memberWorks && m.epoch > 0 && !m.heard.IsZero() && m.g.r.hand.Now().Sub(m.heard) < groupSession && !m.told
}

// sure tells that the member is one, for certain.
func (m *groupMember) sure() bool {
	return !m.heard.IsZero() && m.g.r.hand.Now().Sub(m.heard) < min(groupSession, groupRebalance)
}

// behind tells that a classic member of a group that migrates has not heard of the epoch of another's assignment. A group that
// changes its protocol before it is reconciled, here as in Kafka, takes the new assignment for everybody's.
func (m *groupMember) behind(other *groupMember) bool {
	return m.g.modern && !m.modern && (m.joined.After(m.heard) || m.epoch < other.epoch)
}

// send is ask, with the time kept.
func (m *groupMember) send(req wire.Message, version int16, resp wire.Message, done func(code wire.Code)) {
	m.sent = m.g.r.hand.Now()
	m.ask(req, version, resp, func(err error) {
		if err != nil {
			m.g.r.violated("%s: %s is not answered: %w", m.name, wire.APIName(req.APIKey()), err)
			return
		}
		done(wire.None)
	})
}

// step does the next thing.
func (m *groupMember) step() {
	r := m.g.r
	now := r.hand.Now()
	if r.calm {
		m.until = time.Time{}
	}
	if now.Before(m.until) {
		return
	}
	if m.busy {
		if !r.calm && r.rng.IntN(60) == 0 { // it loses patience
			m.hangUp()
			m.heard = time.Time{}
			if m.full = true; !m.modern || r.rng.IntN(2) == 0 {
				m.forget()
			}
		}
		return
	}
	if !r.calm && m.disturb(now) {
		return
	}
	switch {
	case m.stage == memberJoins:
		m.join()
	case m.stage == memberSyncs:
		m.sync()
	case len(m.owned) > 0 && r.rng.IntN(3) == 0:
		m.commit(m.choose(), 0)
	case now.Before(m.next):
	case m.modern:
		m.beat(0)
	default:
		m.heartbeat(0)
	}
}

// choose is the partition to commit next: in peace one that has no commit yet.
func (m *groupMember) choose() int32 {
	for _, p := range m.owned {
		if m.g.r.calm && !m.g.fresh[p] {
			return p
		}
	}
	return m.owned[m.g.r.rng.IntN(len(m.owned))]
}

// disturb does something that well behaved members do rarely; it tells whether it did.
func (m *groupMember) disturb(now time.Time) bool {
	r := m.g.r
	switch r.rng.IntN(200) {
	case 0, 1, 2: // a long pause, often longer than the session
		m.until = now.Add(time.Duration(r.rng.Int64N(int64(2 * groupSession))))
	case 3, 4: // the process dies
		m.forget()
	case 5, 6:
		m.leave(func() {})
	case 7, 8:
		if !m.g.classic || !m.g.modern {
			return false
		}
		m.leave(func() { // it comes back with the other protocol
			m.modern = !m.modern
			m.forget()
		})
	case 9, 10, 11:
		m.lie()
	case 12: // it joins anew for no reason
		if m.stage = memberJoins; m.modern {
			m.stage, m.full = memberWorks, true
		}
	default:
		return false
	}
	return true
}

// lie tells of an epoch that never was.
func (m *groupMember) lie() {
	off := int32(1000)
	switch {
	case m.epoch == 0 || m.id == "":
	case m.g.r.rng.IntN(2) == 0:
		m.commit(m.g.r.rng.Int32N(groupParts), off)
	case m.modern:
		m.beat(off)
	default:
		m.heartbeat(off)
	}
}

// expelled is what a member does that is none any more. Nobody may be sent away who was heard of in time.
func (m *groupMember) expelled(code wire.Code) {
	r := m.g.r
	if m.sure() {
		r.violated("%s was a member %v ago and gets %v (id %q, epoch %d)", m.name, r.hand.Now().Sub(m.heard), code, m.id, m.epoch)
	}
	r.result.Expelled++
	id := m.id
	m.forget()
	if m.modern && r.rng.IntN(2) == 0 {
		m.id = id // a fenced member comes back under its id
	}
}

// own is told what to own: nobody else may have it who was heard of in time.
func (m *groupMember) own(parts []int32) {
	r := m.g.r
	r.result.Given++
	for _, p := range m.owned {
		if !slices.Contains(parts, p) {
			r.result.Revoked++
			m.told = true
		}
	}
	for _, p := range parts {
		if p < 0 || p >= groupParts {
			r.violated("%s is given partition %d", m.name, p)
			return
		}
		for _, other := range m.g.members {
			if other != m && other.sure() && !other.behind(m) && slices.Contains(other.owned, p) {
				r.violated("%s (epoch %d) is given partition %d, which %s (epoch %d) has, heard of %v ago", m.name, m.epoch, p, other.name, other.epoch, r.hand.Now().Sub(other.heard))
			}
		}
		if !slices.Contains(m.owned, p) {
			m.told = true
		}
	}
	m.owned = slices.Clone(parts)
}

// retry tells whether a code only asks for patience.
func (m *groupMember) retry(code wire.Code) bool {
	switch code {
	case wire.CoordinatorLoadInProgress, wire.NotCoordinator, wire.CoordinatorNotAvailable, wire.RequestTimedOut, wire.UnknownServerError, wire.KafkaStorageError:
		// What was written may or may not be there.
		m.heard, m.full = time.Time{}, true
		return true
	}
	return false
}

// commit commits the next position of a partition. Off is added to the epoch.
func (m *groupMember) commit(p, off int32) {
	l := &m.g.commits[p]
	l.sent++
	n := l.sent
	text := fmt.Sprint("at ", n)
	req := &wire.OffsetCommitRequest{
		GroupID: m.g.id, GenerationIDOrMemberEpoch: m.epoch + off, MemberID: m.id, GroupInstanceID: m.instance,
		Topics: []wire.OffsetCommitRequestTopic{{Name: groupTopic, Partitions: []wire.OffsetCommitRequestPartition{{
			PartitionIndex: p, CommittedOffset: n, CommittedLeaderEpoch: -1, CommittedMetadata: &text,
		}}}},
	}
	r := m.g.r
	r.result.Unknown++
	resp := &wire.OffsetCommitResponse{}
	m.send(req, 9, resp, func(wire.Code) {
		r.result.Unknown--
		code := resp.Topics[0].Partitions[0].ErrorCode
		m.last = code
		switch code {
		case wire.None:
			if off != 0 {
				r.violated("%s: a commit with epoch %d is taken", m.name, m.epoch+off)
			}
			l.floor = max(l.floor, n)
			m.g.fresh[p] = r.calm
			r.result.Commits++
			return
		case wire.IllegalGeneration, wire.UnknownMemberID, wire.StaleMemberEpoch, wire.FencedMemberEpoch, wire.FencedInstanceID, wire.RebalanceInProgress, wire.GroupIDNotFound:
			if l.refused == nil {
				l.refused = map[int64]bool{}
			}
			l.refused[n] = true
			if n == l.sent {
				l.sent--
				delete(l.refused, n)
			}
			r.result.Refused++
		default:
			r.result.Unknown++
			if !m.retry(code) {
				r.violated("%s: a commit is answered with %v", m.name, code)
			}
			return
		}
		if off != 0 {
			r.result.Lies++
			return
		}
		m.heed(code)
	})
}

// heed does what a refusal asks for.
func (m *groupMember) heed(code wire.Code) {
	r := m.g.r
	m.last = code
	switch code {
	case wire.UnknownMemberID, wire.FencedMemberEpoch, wire.GroupIDNotFound, wire.FencedInstanceID:
		m.expelled(code)
	case wire.RebalanceInProgress:
		r.result.Rebalances++
		m.stage = memberJoins
	case wire.IllegalGeneration:
		m.stage, m.owned, m.heard = memberJoins, nil, time.Time{}
	case wire.StaleMemberEpoch:
		m.next, m.full = time.Time{}, true
	default:
		if !m.retry(code) {
			r.violated("%s gets %v", m.name, code)
		}
	}
	if m.modern {
		m.stage = memberWorks
	}
}
