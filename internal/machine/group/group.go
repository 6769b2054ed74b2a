package group

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// state is where a group is in its life. The names are Kafka's and are seen by clients.
//
//	             first member                      all joined
//	Empty ─────────────────────► PreparingRebalance ─────────► CompletingRebalance
//	  ▲                            │      ▲                        │          │
//	  └────────────────────────────┘      └────────────────────────┤          │ assignment written
//	        all members gone              member joins, leaves     │          ▼
//	                                      or expires               └────── Stable
//	Dead: the group's tombstones are on their way, or the partition was unloaded.
type state uint8

const (
	stateEmpty state = iota
	statePreparing
	stateCompleting
	stateStable
	stateDead
)

// stateNames are in the order of the states.
var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

func (s state) String() string { return stateNames[s] }

// consumerProtocol is the protocol type of consumers, whose subscriptions the coordinator understands.
const consumerProtocol = "consumer"

// protocol is one way of assignment that a member can take part in.
type protocol struct {
	name     string
	metadata []byte
	again    bool // the member has named it before
}

// member is a member of a classic group.
type member struct {
	id                   string
	instance             string // group.instance.id, if static
	static               bool
	isNew                bool // has not completed a rebalance yet, so that it cannot heartbeat
	pendingSync          bool
	clientID, clientHost string
	rebalanceMs          int32
	sessionMs            int32
	protocols            []protocol
	assignment           []byte
	join, sync           Ticket // parked requests
	timer                timer
}

func (mb *member) takeSync() Ticket {
	t := mb.sync
	mb.sync = 0
	return t
}

// instanceID is the group instance id as messages have it.
func (mb *member) instanceID() *string {
	if !mb.static {
		return nil
	}
	return &mb.instance
}

func (mb *member) metadata(protocol string) []byte {
	for i := range mb.protocols {
		if mb.protocols[i].name == protocol {
			return mb.protocols[i].metadata
		}
	}
	return nil
}

// matches says whether the request names the same protocols with the same metadata in the same order.
func (mb *member) matches(protocols []wire.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(mb.protocols, protocols, func(a protocol, b wire.JoinGroupRequestProtocol) bool {
		return a.name == b.Name && bytes.Equal(a.metadata, b.Metadata)
	})
}

// satisfied says whether the member need not heartbeat now: it waits for us, not we for it.
func (mb *member) satisfied() bool { return !mb.isNew && (mb.join != 0 || mb.sync != 0) }

// names calls f once for each protocol name.
//
// Differs from Kafka: a protocol that a member of a classic group names twice counts once. In Kafka it counts twice, so that
// it seems to be no protocol of all members.
func (mb *member) names(f func(string)) {
	for i := range mb.protocols {
		if !mb.protocols[i].again {
			f(mb.protocols[i].name)
		}
	}
}

// group is a classic group, or the offsets of consumers that need no group (a simple group).
type group struct {
	id           string
	state, prev  state
	generation   int32
	protocolType string  // empty for a simple group
	protocol     *string // chosen by vote
	leader       string  // member id, empty for none
	since        int64   // wall time of the last change of state, -1 if an old record did not say
	durable      bool    // a metadata record is in the log

	members   map[string]*member
	order     []*member          // as they joined
	statics   map[string]*member // by instance id
	pending   map[string]*timer  // member ids that were given out and not used yet (KIP-394)
	supported map[string]int     // how many members support a protocol
	awaiting  int                // members with a parked join
	unsynced  int                // members that have not synced in this generation
	grown     bool               // a member was added during the initial delay
	assigning bool               // the assignment of this generation is being written
	stepMs    int64              // the initial delay's current step
	leftMs    int64              // how far the initial delay may still be extended
	initialBy int64              // Mono when the initial delay ends at the latest, if members may end it early
	topics    map[string]bool    // subscribed topics, if known
	aware     bool               // topics are known
	joinTimer timer
	syncTimer timer

	offsets   map[string]*topicOffsets
	open      map[int64]pendingOffsets // of open transactions, by producer
	unsettled int                      // writes that concern this group and are on their way
	yielded   WriteID                  // writes up to this one count no more: another kind has taken the id
}

func newGroup(id string) *group {
	g := &group{id: strings.Clone(id), prev: stateDead, since: -1}
	g.joinTimer.group = g
	g.syncTimer = timer{kind: timerSync, group: g}
	return g
}

// hollow says that nothing is left that makes the group exist.
//
// Differs from Kafka: a group that no record tells of, as one without members whose last offset was deleted, is forgotten at once; Kafka
// keeps it in memory until it next looks for offsets that have expired, or until it starts again.
func (g *group) hollow() bool {
	return !g.durable && len(g.members) == 0 && len(g.pending) == 0 && len(g.offsets) == 0 &&
		len(g.open) == 0 && g.unsettled == 0
}

// transition moves the group to another state.
func (g *group) transition(to state, wall int64) {
	ok := false
	switch to {
	case stateEmpty, stateCompleting:
		ok = g.state == statePreparing
	case statePreparing:
		ok = g.canRebalance()
	case stateStable:
		ok = g.state == stateCompleting
	case stateDead:
		ok = true
	}
	invariant.Check(ok, "group %s moves from %v to %v", g.id, g.state, to)
	g.prev, g.state, g.since = g.state, to, wall
}

func (g *group) canRebalance() bool {
	return g.state == stateStable || g.state == stateCompleting || g.state == stateEmpty
}

// usesConsumerProtocol says whether the members' metadata are subscriptions.
func (g *group) usesConsumerProtocol() bool { return g.protocolType == consumerProtocol }

// typeOrNil is the protocol type as answers have it.
func (g *group) typeOrNil() *string {
	if g.protocolType == "" {
		return nil
	}
	t := g.protocolType
	return &t
}

// allJoined says whether no member is missing for the next generation.
func (g *group) allJoined() bool { return g.awaiting == len(g.members) && len(g.pending) == 0 }

// rebalanceMs is the longest rebalance timeout of the members.
func (g *group) rebalanceMs() (ms int64) {
	for _, mb := range g.order {
		ms = max(ms, int64(mb.rebalanceMs))
	}
	return ms
}

// add makes mb a member. Its fields are set; its request is parked by the caller.
func (g *group) add(mb *member) {
	if g.members == nil {
		g.members, g.statics, g.supported = map[string]*member{}, map[string]*member{}, map[string]int{}
	}
	mb.timer = timer{kind: timerSession, group: g, member: mb}
	g.members[mb.id] = mb
	g.order = append(g.order, mb)
	if mb.static {
		g.statics[mb.instance] = mb
	}
	if g.leader == "" {
		g.leader = mb.id
	}
	g.count(mb, 1)
	g.unpend(mb.id)
}

// unpend takes a member id back that was given out.
func (g *group) unpend(memberID string) bool {
	t, ok := g.pending[memberID]
	if ok {
		t.Stop()
		delete(g.pending, memberID)
	}
	return ok
}

// dropPending takes all member ids back that were given out.
func (g *group) dropPending() {
	//unordered: a timer that is stopped shows nowhere
	for _, t := range g.pending {
		t.Stop()
	}
	g.pending = nil
}

func (g *group) count(mb *member, n int) {
	mb.names(func(name string) {
		if g.supported[name] += n; g.supported[name] == 0 {
			delete(g.supported, name)
		}
	})
}

// remove ends a membership. Requests that the member has parked are answered: it may join anew.
func (g *group) remove(mb *member, fx *Effects) {
	fx.join(g.takeJoin(mb), joinError("", wire.UnknownMemberID))
	fx.sync(mb.takeSync(), &wire.SyncGroupResponse{ErrorCode: wire.UnknownMemberID})
	mb.timer.Stop()
	g.synced(mb)
	g.count(mb, -1)
	delete(g.members, mb.id)
	if mb.static {
		delete(g.statics, mb.instance)
	}
	g.order = slices.DeleteFunc(g.order, func(o *member) bool { return o == mb })
	if g.leader == mb.id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
}

// parkJoin keeps the member's request until the rebalance is complete. An earlier one of the same member has
// lost its sender.
//
// Differs from Kafka: when a member of a classic group sends a JoinGroup while an earlier one waits, the earlier one is answered
// COORDINATOR_NOT_AVAILABLE; Kafka never answers it.
func (g *group) parkJoin(mb *member, t Ticket, fx *Effects) {
	fx.join(g.takeJoin(mb), joinError(mb.id, wire.CoordinatorNotAvailable))
	mb.join = t
	g.awaiting++
}

func (g *group) takeJoin(mb *member) Ticket {
	t := mb.join
	if t != 0 {
		mb.join = 0
		g.awaiting--
	}
	return t
}

// synced notes that the member is not missing in this generation any more.
func (g *group) synced(mb *member) {
	if mb.pendingSync {
		mb.pendingSync = false
		g.unsynced--
	}
}

func (g *group) clearUnsynced() {
	for _, mb := range g.order {
		g.synced(mb)
	}
}

// check finds a member, and sees that a static one has not been replaced (KIP-345).
func (g *group) check(memberID string, instance *string) wire.Code {
	if instance != nil {
		mb, ok := g.statics[*instance]
		switch {
		case !ok:
			return wire.UnknownMemberID
		case mb.id != memberID:
			return wire.FencedInstanceID
		}
	}
	if _, ok := g.members[memberID]; !ok {
		return wire.UnknownMemberID
	}
	return wire.None
}

// supports says whether a member with these protocols fits to the others.
func (g *group) supports(protocolType string, protocols []wire.JoinGroupRequestProtocol) bool {
	if g.state == stateEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.protocolType == protocolType && slices.ContainsFunc(protocols, func(p wire.JoinGroupRequestProtocol) bool {
		return g.supported[p.Name] == len(g.members)
	})
}

// vote chooses the protocol: of those that all members support, each member votes for the one it names first.
// On a tie the one wins that comes first in the hash table in which Kafka counts; if that does not tell, either, the one
// that the older member has voted for.
func (g *group) vote() string {
	votes := map[string]int{}
	best := ""
	for _, mb := range g.order {
		i := slices.IndexFunc(mb.protocols, func(p protocol) bool { return g.supported[p.name] == len(g.members) })
		invariant.Check(i >= 0, "member %s of group %s supports none of the common protocols", mb.id, g.id)
		votes[mb.protocols[i].name]++
	}
	for _, mb := range g.order {
		for i := range mb.protocols {
			name := mb.protocols[i].name
			if votes[name] > votes[best] || votes[name] == votes[best] && bucket(name) < bucket(best) {
				best = name
			}
		}
	}
	return best
}

// bucket is where a name is in a small hash table of Java's.
func bucket(name string) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(name)) {
		h = 31*h + int32(unit)
	}
	return (h ^ int32(uint32(h)>>16)) & 15
}

// electJoined makes sure that the leader is among those that have joined; false if nobody has.
func (g *group) electJoined() bool {
	if g.leader == "" {
		return false
	}
	if g.members[g.leader].join != 0 {
		return true
	}
	for _, mb := range g.order {
		if mb.join != 0 {
			g.leader = mb.id
			return true
		}
	}
	return false
}

// nextGeneration begins the generation of those who have joined.
func (g *group) nextGeneration(wall int64) {
	g.generation++
	g.assigning = false
	if len(g.members) == 0 {
		g.protocol = nil
		g.subscribe()
		g.transition(stateEmpty, wall)
	} else {
		name := g.vote()
		g.protocol = &name
		g.subscribe()
		g.transition(stateCompleting, wall)
	}
	g.clearUnsynced()
}

// subscribe works out which topics the members of a consumer group subscribe to. What cannot be read leaves
// the coordinator unaware of them, as in Kafka.
//
// Differs from Kafka: a subscription in the classic protocol that cannot be read, whatever is wrong with it, leaves the
// coordinator unaware of what the group subscribes to. Where one has more topics than bytes, Kafka's members wait for their
// answers for ever.
func (g *group) subscribe() {
	g.topics, g.aware = nil, false
	if !g.usesConsumerProtocol() {
		return
	}
	if len(g.members) == 0 {
		g.aware = true
		return
	}
	if g.protocol == nil {
		return
	}
	topics := map[string]bool{}
	for _, mb := range g.order {
		if !readSubscription(mb.metadata(*g.protocol), topics) {
			return
		}
	}
	g.topics, g.aware = topics, true
}

// readSubscription adds the topics of a consumer's subscription. Version 0 is the beginning of all versions.
func readSubscription(metadata []byte, topics map[string]bool) bool {
	r := wire.NewReader(metadata)
	if r.Int16() < 0 {
		return false
	}
	for n := r.Int32(); n > 0 && r.Err() == nil; n-- {
		topics[r.String()] = true
	}
	return r.Err() == nil
}

// subscribed says whether a member reads the topic, as far as is known.
func (g *group) subscribed(topic string) bool {
	if g.aware {
		return g.topics[topic]
	}
	return g.usesConsumerProtocol()
}

// sortedKeys are the keys of a map in order: what can be seen must not depend on chance.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
