package group

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
)

// The assignors of the coordinator, as members name them.
const (
	uniformAssignor = "uniform"
	rangeAssignor   = "range"
)

const (
	// regexRefreshMinMs is the least time between two looks for topics that a group's expressions match.
	regexRefreshMinMs = 1_000
	// assignUnitsPerMs is how many members and partitions a group may have for each millisecond between two of its
	// assignments: a group of a thousand of each is assigned at most every 62 ms, so that a thousand members who
	// join at once cost a few assignments, not a thousand.
	assignUnitsPerMs = 32
)

// idsOf are the topics that a member reads, as of the image, ascending. Members with the same subscription share them.
func (t *consumerTurn) idsOf(s *interest) []wire.UUID {
	if s == nil || t.c.image == nil {
		return nil
	}
	if s.known && t.g.hashKnown {
		return s.ids
	}
	s.ids = s.ids[:0:0]
	names := s.names
	if r := t.g.resolved[s.regex]; s.regex != "" && r != nil {
		names = append(slices.Clone(names), r.topics...)
	}
	for _, name := range names {
		if topic, ok := t.c.image.Topic(name); ok {
			s.ids = append(s.ids, topic.ID)
		}
	}
	slices.SortFunc(s.ids, compareTopicIDs)
	s.ids, s.known = slices.Compact(s.ids), true
	return s.ids
}

func compareTopicIDs(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) }

// readHash is the hash of all topics that the group reads.
func (t *consumerTurn) readHash() int64 {
	g := t.g
	if g.hashKnown {
		return g.hash
	}
	var hashes []int64
	for _, name := range sortedKeys(g.reads) {
		if h := t.c.hash(name); t.c.hashes[name].topic != nil {
			hashes = append(hashes, h)
		}
	}
	//unordered: marks do not see each other
	for _, s := range g.subs {
		s.known = false
	}
	g.hash, g.hashKnown = GroupHash(hashes), true
	return g.hash
}

// bump begins an epoch if members or subscriptions have changed, or the topics that the group reads.
func (t *consumerTurn) bump(changed bool) {
	g := t.g
	if !changed && !g.stale {
		return
	}
	hash := t.readHash()
	if hash != g.metadataHash {
		if !changed {
			t.event("rebalance begins", "topics have changed: "+describeTopics(sortedKeys(g.reads)))
		}
		changed = true
	}
	if changed {
		t.putEpoch(g.epoch+1, hash)
	}
	g.stale = false
	t.dropOld()
}

// compileRegex compiles an expression that must match a whole name.
func compileRegex(regex string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(regex); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + regex + `)\z`)
}

// resolve looks which topics an expression matches, Kafka's own among them, as Kafka does. One that cannot be read, which only a log of others can have,
// matches none. Topics that the client who asks may not know of are left out.
func (c *Consumers) resolve(regex string, now Time, visible func(topic string) bool) *resolvedRegex {
	r := &resolvedRegex{ms: now.Wall}
	re, err := compileRegex(regex)
	if c.image == nil || err != nil {
		return r
	}
	r.version = c.image.Offset()
	for topic := range c.image.Topics() {
		if re.MatchString(topic.Name) && (visible == nil || visible(topic.Name)) {
			r.topics = append(r.topics, topic.Name)
		}
	}
	slices.Sort(r.topics)
	return r
}

// resolveAll brings the topics of the group's expressions up to date, and says whether any has found others than before. New
// expressions are looked at at once, the others when topics were made, and now and then.
//
// Differs from Kafka: the regular expressions of consumer groups are resolved within the heartbeat that brings them and not
// in the background after it, so that a member has its partitions one heartbeat earlier.
func (t *consumerTurn) resolveAll(visible func(topic string) bool) (changed bool) {
	g := t.g
	if len(g.regexes) == 0 && len(g.resolved) == 0 {
		return false
	}
	since := t.now.Mono - g.resolvedAt
	all := g.unresolved && since >= regexRefreshMinMs || since >= t.c.config.RegexRefreshMs
	if !all && len(g.regexes) == len(g.resolved) && !g.newRegex() {
		return false
	}
	if all {
		g.resolvedAt, g.unresolved = t.now.Mono, false
	}
	g.stale = true // what is read by nobody any more counts, too
	for _, regex := range sortedKeys(g.resolved) {
		if g.regexes[regex] == 0 {
			t.putRegex(regex, nil)
		}
	}
	for _, regex := range sortedKeys(g.regexes) {
		old := g.resolved[regex]
		if old != nil && !all {
			continue
		}
		r := t.c.resolve(regex, t.now, visible)
		if old != nil && slices.Equal(old.topics, r.topics) {
			continue
		}
		t.putRegex(regex, r)
		changed = changed || len(r.topics) > 0 || old != nil
	}
	return changed
}

// newRegex says whether an expression has not been looked at.
func (g *consumerGroup) newRegex() bool {
	//unordered: any one will do
	for regex := range g.regexes {
		if g.resolved[regex] == nil {
			return true
		}
	}
	return false
}

// assignor is the one that most members want, or the default.
func (g *consumerGroup) assignor() string {
	best := g.c.config.Assignors[0]
	for _, name := range g.c.config.Assignors {
		if g.assignors[name] > g.assignors[best] {
			best = name
		}
	}
	return best
}

// mayAssign says whether enough time has passed since the last assignment.
func (t *consumerTurn) mayAssign() bool {
	g := t.g
	ms := int64(g.configuration().AssignmentMs)
	if ms < 0 {
		ms = int64(len(g.members)+len(g.owners)) / assignUnitsPerMs
	}
	return g.targetMs == 0 || ms == 0 || t.now.Wall-g.targetMs >= ms || t.now.Wall < g.targetMs
}

// retarget computes the target for the newest epoch, unless that has to wait.
//
// Differs from Kafka: when a member joins a consumer group and reads nothing, Kafka takes the subscriptions of all for equal if they were before, and may
// assign nothing to anybody.
func (t *consumerTurn) retarget() {
	g := t.g
	if g.epoch <= g.targetEpoch || !t.mayAssign() {
		return
	}
	t.readHash() // so that idsOf may keep what it finds
	ids := sortedKeys(g.members)
	members := make([]assign.Member, len(ids))
	for i, id := range ids {
		mb := g.members[id]
		members[i] = assign.Member{ID: id, Instance: mb.meta.InstanceID, Subscribed: t.idsOf(mb.reads), Owned: g.targets[id]}
	}
	var topics []assign.Topic
	for _, name := range sortedKeys(g.reads) {
		if topic, ok := t.topic(name); ok {
			topics = append(topics, topic)
		}
	}
	name := g.assignor()
	run := assign.Uniform
	if name == rangeAssignor {
		run = assign.Range
	}
	for i, target := range run(members, topics) {
		if old, ok := g.targets[ids[i]]; !ok || !old.Equal(target) {
			t.putTarget(ids[i], target, false)
		}
	}
	t.putTargetEpoch(g.epoch, t.now.Wall)
	t.event("assignment is computed", "assignor "+name+", topics "+describeTopics(sortedKeys(g.reads)))
}

func (t *consumerTurn) topic(name string) (assign.Topic, bool) {
	if t.c.image == nil {
		return assign.Topic{}, false
	}
	topic, ok := t.c.image.Topic(name)
	if !ok {
		return assign.Topic{}, false
	}
	return assign.Topic{ID: topic.ID, Partitions: int32(len(topic.Partitions))}, true
}

// owned are the partitions that a member says it has; nil is no statement.
type owned map[partitionID]bool

// gaveUp says whether the member has none of these partitions any more.
func (o owned) gaveUp(list []holding) bool {
	if o == nil {
		return false
	}
	for i := range list {
		for _, p := range list[i].Partitions {
			if o[partitionID{list[i].TopicID, p}] {
				return false
			}
		}
	}
	return true
}

// reconcile brings the member one step nearer to its target, if it can. changed says that its subscription has just
// changed, so that it may have to give up what it does not read any more before there is a new target.
func (t *consumerTurn) reconcile(mb *consumerMember, has owned, changed bool) {
	if !changed && mb.reconciled(t.g.targetEpoch) {
		return
	}
	next := mb.current
	switch mb.current.State {
	case stablePartitions:
		if mb.current.MemberEpoch != t.g.targetEpoch {
			next = t.step(mb, has)
		} else {
			next = t.trim(mb, has)
		}
	case unrevokedPartitions:
		if has.gaveUp(mb.current.PartitionsPendingRevocation) {
			next = t.step(mb, has)
		} else if changed {
			next = t.trim(mb, has)
		}
	default:
		next = t.step(mb, has)
	}
	if sameCurrent(&next, &mb.current) {
		return
	}
	t.putCurrent(mb.id, &next)
	if mb.meta.ClassicMemberMetadata != nil {
		return
	}
	if next.State == unrevokedPartitions {
		mb.awaitRevocation(t.now)
	} else {
		mb.rebalance.Stop()
	}
}

func sameCurrent(a, b *wire.ConsumerGroupCurrentMemberAssignmentValue) bool {
	return a.MemberEpoch == b.MemberEpoch && a.PreviousMemberEpoch == b.PreviousMemberEpoch && a.State == b.State &&
		sameHoldings(a.AssignedPartitions, b.AssignedPartitions) &&
		sameHoldings(a.PartitionsPendingRevocation, b.PartitionsPendingRevocation)
}

func sameHoldings(a, b []holding) bool {
	return slices.EqualFunc(a, b, func(x, y holding) bool {
		return x.TopicID == y.TopicID && slices.Equal(x.Partitions, y.Partitions) && slices.Equal(x.AssignmentEpochs, y.AssignmentEpochs)
	})
}

// step is the member's next assignment on the way to its target.
func (t *consumerTurn) step(mb *consumerMember, has owned) wire.ConsumerGroupCurrentMemberAssignmentValue {
	g := t.g
	keep, revoke, waiting, added := t.split(mb)
	next := wire.ConsumerGroupCurrentMemberAssignmentValue{
		MemberEpoch: g.targetEpoch, PreviousMemberEpoch: mb.current.MemberEpoch, AssignedPartitions: keep,
	}
	switch {
	case len(revoke) > 0 && !has.gaveUp(revoke):
		next.MemberEpoch, next.State, next.PartitionsPendingRevocation = mb.current.MemberEpoch, unrevokedPartitions, revoke
	case waiting:
		next.State = unreleasedPartitions
		fallthrough
	default:
		next.AssignedPartitions = mergeHoldings(keep, added)
	}
	return next
}

// split compares what the member has with its target: what it keeps, what it must give up, what it gets now, and
// whether anything of its target is still somebody else's. Topics that it does not read count as not in its target.
func (t *consumerTurn) split(mb *consumerMember) (keep, revoke []holding, waiting bool, added []holding) {
	g := t.g
	reads := t.idsOf(mb.reads)
	wanted := map[wire.UUID][]int32{}
	for _, tp := range g.targetOf(mb) {
		if _, ok := slices.BinarySearchFunc(reads, tp.Topic, compareTopicIDs); ok {
			wanted[tp.Topic] = tp.Partitions
		}
	}
	for i := range mb.current.AssignedPartitions {
		h := &mb.current.AssignedPartitions[i]
		in, out := holding{TopicID: h.TopicID}, holding{TopicID: h.TopicID}
		for k, p := range h.Partitions {
			to := &out
			if _, ok := slices.BinarySearch(wanted[h.TopicID], p); ok {
				to = &in
			}
			to.Partitions, to.AssignmentEpochs = append(to.Partitions, p), append(to.AssignmentEpochs, h.AssignmentEpochs[k])
		}
		keep, revoke = addHolding(keep, in), addHolding(revoke, out)
	}
	for _, topic := range slices.SortedFunc(maps.Keys(wanted), compareTopicIDs) {
		kept := holding{}
		if at, ok := slices.BinarySearchFunc(keep, topic, func(h holding, id wire.UUID) int { return compareTopicIDs(h.TopicID, id) }); ok {
			kept = keep[at]
		}
		get := holding{TopicID: topic}
		for _, p := range wanted[topic] {
			if _, has := slices.BinarySearch(kept.Partitions, p); has {
				continue
			}
			if owner := g.owners[partitionID{topic, p}]; owner != nil && owner != mb {
				waiting = true
				continue
			}
			get.Partitions, get.AssignmentEpochs = append(get.Partitions, p), append(get.AssignmentEpochs, g.targetEpoch)
		}
		added = addHolding(added, get)
	}
	return keep, revoke, waiting, added
}

// targetOf is the member's target; a static member that has just come back has that of the one it replaces.
func (g *consumerGroup) targetOf(mb *consumerMember) assign.Assignment { return g.targets[mb.id] }

func addHolding(list []holding, h holding) []holding {
	if len(h.Partitions) > 0 {
		list = append(list, h)
	}
	return list
}

// mergeHoldings joins two lists that have no partition in common.
func mergeHoldings(a, b []holding) []holding {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	byTopic := map[wire.UUID]holding{}
	for _, list := range [][]holding{a, b} {
		for _, h := range list {
			old := byTopic[h.TopicID]
			byTopic[h.TopicID] = holding{
				TopicID: h.TopicID, Partitions: slices.Concat(old.Partitions, h.Partitions),
				AssignmentEpochs: slices.Concat(old.AssignmentEpochs, h.AssignmentEpochs),
			}
		}
	}
	out := make([]holding, 0, len(byTopic))
	for _, topic := range slices.SortedFunc(maps.Keys(byTopic), compareTopicIDs) {
		out = append(out, byTopic[topic])
	}
	return normal(out, 0)
}

// trim takes away what the member does not read any more, while its epoch stays.
func (t *consumerTurn) trim(mb *consumerMember, has owned) wire.ConsumerGroupCurrentMemberAssignmentValue {
	reads := t.idsOf(mb.reads)
	var keep, revoke []holding
	for _, h := range mb.current.AssignedPartitions {
		if _, ok := slices.BinarySearchFunc(reads, h.TopicID, compareTopicIDs); ok {
			keep = append(keep, h)
		} else {
			revoke = append(revoke, h)
		}
	}
	if len(revoke) == 0 {
		return mb.current
	}
	next := mb.current
	next.PreviousMemberEpoch, next.AssignedPartitions = mb.current.MemberEpoch, keep
	revoke = mergeHoldings(mb.current.PartitionsPendingRevocation, revoke)
	if !has.gaveUp(revoke) {
		next.State, next.PartitionsPendingRevocation = unrevokedPartitions, revoke
	}
	return next
}

// waitsFor says whether a partition of the member's target is still somebody else's.
func (g *consumerGroup) waitsFor(mb *consumerMember) bool {
	for _, tp := range g.targets[mb.id] {
		for _, p := range tp.Partitions {
			if owner := g.owners[partitionID{tp.Topic, p}]; owner != nil && owner != mb {
				return true
			}
		}
	}
	return false
}

// remove ends memberships; each has its event already. If only members of the classic protocol are left, the group
// turns into a classic one.
func (t *consumerTurn) remove(gone []*consumerMember) {
	g := t.g
	if g.downgrades(gone) {
		t.toClassic(gone, nil)
		return
	}
	for _, mb := range gone {
		t.bury1(mb.id)
	}
	for _, regex := range sortedKeys(g.resolved) {
		if g.regexes[regex] == 0 {
			t.putRegex(regex, nil)
		}
	}
	t.putEpoch(g.epoch+1, t.readHash())
}

// bury1 removes one member.
func (t *consumerTurn) bury1(id string) {
	t.putCurrent(id, nil)
	t.putTarget(id, nil, true)
	t.putMember(id, nil)
}

// joinNames is a list of names for a message.
func joinNames(names []string) string { return strings.Join(names, ", ") }
