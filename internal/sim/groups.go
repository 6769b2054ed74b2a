package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// GroupResult is what one run of groups did.
type GroupResult struct {
	Ends
	// Commits counts acknowledged commits, Refused those that were refused for good, Unknown those whose client cannot know.
	Commits, Refused, Unknown int
	// Given counts assignments that members got, Revoked partitions that they were told to give up, Rebalances the
	// times that members were told to join anew.
	Given, Revoked, Rebalances int
	// Expelled counts members who came back too late, Lies requests with made up epochs that were refused, Static
	// instances that had to wait for their predecessor.
	Expelled, Lies, Static int
	// Upgrades and Downgrades count groups that went from one protocol to the other.
	Upgrades, Downgrades int
	// Cleaned counts offsets of __consumer_offsets that compaction has passed.
	Cleaned int64
}

// Add adds what another run did.
func (r *GroupResult) Add(o GroupResult) {
	r.add(o.Ends)
	r.Commits, r.Refused, r.Unknown = r.Commits+o.Commits, r.Refused+o.Refused, r.Unknown+o.Unknown
	r.Given, r.Revoked, r.Rebalances = r.Given+o.Given, r.Revoked+o.Revoked, r.Rebalances+o.Rebalances
	r.Expelled, r.Lies, r.Static = r.Expelled+o.Expelled, r.Lies+o.Lies, r.Static+o.Static
	r.Upgrades, r.Downgrades, r.Cleaned = r.Upgrades+o.Upgrades, r.Downgrades+o.Downgrades, r.Cleaned+o.Cleaned
}

// Vacuous tells that a path was never taken.
func (r *GroupResult) Vacuous() bool {
	return r.Kills == 0 || r.PowerCuts == 0 || r.Commits == 0 || r.Refused == 0 || r.Unknown == 0 || r.Given == 0 || r.Revoked == 0 ||
		r.Rebalances == 0 || r.Expelled == 0 || r.Lies == 0 || r.Static == 0 || r.Upgrades == 0 || r.Downgrades == 0 || r.Cleaned == 0
}

// Shape of a run of groups.
const (
	groupTopic   = "in"
	groupParts   = 6
	groupMembers = 4
	groupSteps   = 500
	// groupSession is the session timeout of all members, groupRebalance the rebalance timeout. A member that was heard of
	// within both owns what it was given.
	groupSession   = 10 * time.Second
	groupRebalance = 15 * time.Second
	// groupCalm is how long groups may take to become stable once nobody disturbs them.
	groupCalm = time.Minute
)

// groupRun is one seed's life: members of classic groups, of consumer groups and of groups that move between the two come,
// go, stall, lie and commit, while the node dies at any point.
type groupRun struct {
	*Rig
	rng    *rand.Rand
	topic  wire.UUID
	groups []*simGroup
	result GroupResult
	// calm ends all disturbance.
	calm bool
	// failed is the first violation.
	failed error
}

// RunGroups plays one seed.
func RunGroups(rig *Rig) (GroupResult, error) {
	r := &groupRun{Rig: rig, rng: rand.New(rand.NewPCG(rig.seed, 101))}
	r.setAll("group.consumer.min.session.timeout.ms", "1000", "group.consumer.session.timeout.ms", "10000",
		"group.consumer.min.heartbeat.interval.ms", "100", "group.consumer.heartbeat.interval.ms", "1000",
		"log.cleaner.min.cleanable.ratio", "0.01", "log.cleaner.backoff.ms", "500",
		"log.segment.delete.delay.ms", "100", "log.cleaner.delete.retention.ms", "1000")
	for i, g := range []*simGroup{
		{id: "classic-eager", classic: true}, {id: "classic-coop", classic: true, cooperative: true},
		{id: "modern", modern: true}, {id: "mixed", classic: true, modern: true, cooperative: rig.seed%2 == 0},
	} {
		g.r = r
		for k := range groupMembers {
			m := &groupMember{port: port{rig: rig}, g: g, name: fmt.Sprintf("%s-%d", g.id, k), modern: g.modern && (!g.classic || k%2 == 0)}
			if (i+k)%3 == 0 {
				m.instance = &m.name
			}
			m.forget()
			g.members = append(g.members, m)
		}
		r.groups = append(r.groups, g)
	}
	err := rig.play(r.live, r.finish)
	return r.result, err
}

func (r *groupRun) live(life int) error {
	if err := r.begin(); err != nil {
		return err
	}
	if life == 0 {
		if err := r.create(); err != nil {
			return err
		}
	}
	if err := r.verify(); err != nil {
		return err
	}
	planned := r.rng.IntN(3) == 0
	if planned {
		r.disk.CutAt(1 + r.rng.Int64N(1500))
	}
	for range groupSteps {
		r.step()
		if r.failed != nil {
			return r.failed
		}
	}
	r.end(&r.result.Ends, planned || r.rng.IntN(2) == 0)
	return nil
}

// begin boots; now and then the power is cut meanwhile, or soon after: while the coordinator loads or the cleaner cleans.
func (r *groupRun) begin() error {
	if err := r.bootThrough(&r.result.Ends, r.rng, cuts{odds: 4, writes: 150, within: time.Second}); err != nil {
		return err
	}
	for _, g := range r.groups {
		for _, m := range g.members {
			m.reset()
			m.unsure()
		}
	}
	return nil
}

func (r *groupRun) create() (err error) {
	if r.topic, err = r.createTopic(groupTopic, groupParts); err != nil {
		return err
	}
	if err := r.findCoordinator(0, "any"); err != nil {
		return err
	}
	return r.alterTopic("__consumer_offsets", "internal.segment.bytes", "4096")
}

// step lets one member act and time go on.
func (r *groupRun) step() {
	g := r.groups[r.rng.IntN(len(r.groups))]
	g.members[r.rng.IntN(len(g.members))].step()
	for range r.rng.IntN(6) {
		r.hand.RunOne()
	}
	if r.rng.IntN(3) == 0 {
		r.hand.Advance(time.Duration(r.rng.Int64N(int64(300 * time.Millisecond))))
	}
	if r.rng.IntN(100) == 0 {
		r.look()
	}
}

// violated notes the first violation.
func (r *groupRun) violated(format string, args ...any) {
	if r.failed == nil {
		r.failed = fmt.Errorf(format, args...)
	}
}

// look notes the protocols of the groups.
func (r *groupRun) look() {
	resp := &wire.ListGroupsResponse{}
	r.Send(&wire.ListGroupsRequest{}, 5, func(b []byte, err error) {
		if err == nil && decode(b, wire.KeyListGroups, 5, resp) == nil && resp.ErrorCode == wire.None {
			r.noteTypes(resp)
		}
	})
}

func (r *groupRun) noteTypes(resp *wire.ListGroupsResponse) {
	for _, g := range r.groups {
		for i := range resp.Groups {
			if resp.Groups[i].GroupID != g.id {
				continue
			}
			switch typ := resp.Groups[i].GroupType; {
			case g.kind == "classic" && typ == "consumer":
				r.result.Upgrades++
			case g.kind == "consumer" && typ == "classic":
				r.result.Downgrades++
			}
			g.kind, g.state = resp.Groups[i].GroupType, resp.Groups[i].GroupState
		}
	}
}

// verify fetches all groups' offsets and holds them against what was acknowledged and seen.
func (r *groupRun) verify() error {
	for _, g := range r.groups {
		if err := r.verifyGroup(g); err != nil {
			return fmt.Errorf("group %s: %w", g.id, err)
		}
	}
	return nil
}

func (r *groupRun) verifyGroup(g *simGroup) error {
	topic := wire.OffsetFetchRequestTopics{Name: groupTopic}
	for p := range int32(groupParts) {
		topic.PartitionIndexes = append(topic.PartitionIndexes, p)
	}
	req := &wire.OffsetFetchRequest{Groups: []wire.OffsetFetchRequestGroup{{GroupID: g.id, MemberEpoch: -1, Topics: []wire.OffsetFetchRequestTopics{topic}}}}
	for range 200 {
		resp := &wire.OffsetFetchResponse{}
		if err := r.Call(req, 9, resp); err != nil {
			return err
		}
		switch code := resp.Groups[0].ErrorCode; code {
		case wire.CoordinatorLoadInProgress, wire.NotCoordinator, wire.CoordinatorNotAvailable:
			r.hand.Advance(50 * time.Millisecond)
		case wire.None:
			for i := range resp.Groups[0].Topics[0].Partitions {
				p := &resp.Groups[0].Topics[0].Partitions[i]
				if p.ErrorCode != wire.None {
					return p.ErrorCode
				}
				if err := g.commits[p.PartitionIndex].check(p); err != nil {
					return fmt.Errorf("partition %d: %w", p.PartitionIndex, err)
				}
			}
			return nil
		default:
			return fmt.Errorf("fetching offsets: %w", code)
		}
	}
	return errors.New("the coordinator does not load")
}

// ledger is what was committed of a partition; offsets only grow.
type ledger struct {
	sent    int64
	floor   int64 // acknowledged or seen
	refused map[int64]bool
}

func (l *ledger) check(p *wire.OffsetFetchResponsePartitions) error {
	got := max(p.CommittedOffset, 0)
	switch {
	case got < l.floor:
		return fmt.Errorf("WENT BACK: the committed offset is %d, %d was acknowledged or seen", got, l.floor)
	case got > l.sent:
		return fmt.Errorf("the committed offset is %d, nobody sent more than %d", got, l.sent)
	case l.refused[got]:
		return fmt.Errorf("the committed offset is %d, which was refused", got)
	case got > 0 && (p.Metadata == nil || *p.Metadata != fmt.Sprint("at ", got)):
		return fmt.Errorf("the committed offset %d has metadata %v", got, p.Metadata)
	}
	l.floor = got
	return nil
}

// finish boots a last time, leaves everybody in peace, and demands that all groups become stable and can go on.
func (r *groupRun) finish() error {
	if err := r.begin(); err != nil {
		return err
	}
	if err := r.verify(); err != nil {
		return err
	}
	r.calm = true
	end := r.hand.Now().Add(groupCalm)
	for !r.settled() {
		if !r.hand.Now().Before(end) {
			return r.unsettled()
		}
		for range 4 * groupMembers {
			r.step()
		}
		r.look()
		if r.failed != nil {
			return r.failed
		}
	}
	r.result.Cleaned = r.cleanedUpTo("__consumer_offsets")
	if err := r.Stop(); err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	return r.verify()
}

// settled tells that all groups are stable, in their own view and in their members'.
func (r *groupRun) settled() bool {
	for _, g := range r.groups {
		owners := [groupParts]int{}
		for _, m := range g.members {
			if !m.steady() {
				return false
			}
			for _, p := range m.owned {
				owners[p]++
			}
		}
		for p, n := range owners {
			if l := &g.commits[p]; n != 1 || l.floor != l.sent || !g.fresh[p] {
				return false
			}
		}
		if g.state != "Stable" {
			return false
		}
	}
	return true
}

func (r *groupRun) unsettled() error {
	err := fmt.Errorf("not stable %v after the last disturbance", groupCalm)
	for _, g := range r.groups {
		err = fmt.Errorf("%w\n%s: %s %s, commits confirmed %v", err, g.id, g.kind, g.state, g.fresh)
		for _, m := range g.members {
			err = fmt.Errorf("%w\n  %s modern %t id %q epoch %d stage %d busy %t owns %v, last refusal %v", err, m.name, m.modern, m.id, m.epoch, m.stage, m.busy, m.owned, m.last)
		}
	}
	return err
}
