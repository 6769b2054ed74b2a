package controller

import (
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// change works out the next state of one partition and says it as a record.
type change struct {
	topic *metadata.Topic
	index int32
	old   *metadata.Partition
	// isr, elr and lastKnown are what the partition shall have.
	isr, elr, lastKnown []int32
	leader              int32
	recovery            int8
	// bump begins a new leader epoch even when the leader stays.
	bump bool
	// acceptable tells whether a broker may lead.
	acceptable func(int32) bool
	// unclean allows a leader from outside the ISR and the ELR.
	unclean bool
	// elrOn: eligible leader replicas are kept (KIP-966); minISR is the topic's.
	elrOn  bool
	minISR int
}

func (d *decider) newChange(t *metadata.Topic, index int32) *change {
	p := t.Partitions[index]
	c := &change{
		topic: t, index: index, old: p, isr: p.ISR, elr: p.ELR, lastKnown: p.LastKnownELR,
		leader: p.Leader, recovery: p.RecoveryState,
		acceptable: func(b int32) bool { return d.image.Broker(b).Active() },
	}
	topic, _ := config.ResolveTopic(d.brokerConfig(), d.image.Config(metadata.Resource{Type: metadata.TopicResource, Name: t.Name}))
	c.unclean = topic.UncleanLeaderElection
	c.minISR = min(topic.MinInsyncReplicas, len(p.Replicas))
	c.elrOn = d.image.Feature(metadata.FeatureELRVersion) >= 1
	return c
}

// eligible keeps the ELR: below the minimum, whoever leaves the ISR stays eligible unless it
// stopped uncleanly (gone), because it has everything that was committed.
func (c *change) eligible(gone int32) {
	if !c.elrOn || len(c.isr) >= c.minISR {
		c.elr, c.lastKnown = nil, nil
		return
	}
	var elr []int32
	for _, b := range slices.Concat(c.old.ELR, c.old.ISR) {
		if b != gone && !slices.Contains(c.isr, b) && !slices.Contains(elr, b) {
			elr = append(elr, b)
		}
	}
	slices.Sort(elr)
	c.elr = elr
}

// elect keeps the leader if it may lead, else takes the first replica that may: of the ISR, or of the ELR when
// the ISR is empty, or the last known leader, or any if the topic allows it.
func (c *change) elect() {
	valid := func(b int32) bool {
		return (slices.Contains(c.isr, b) || len(c.isr) == 0 && slices.Contains(c.elr, b)) && c.acceptable(b)
	}
	if valid(c.leader) {
		return
	}
	next := slices.IndexFunc(c.old.Replicas, valid)
	switch {
	case next >= 0:
		c.leader = c.old.Replicas[next]
		if len(c.isr) == 0 {
			c.isr = []int32{c.leader}
			c.elr = slices.DeleteFunc(slices.Clone(c.elr), func(b int32) bool { return b == c.leader })
		}
		return
	case len(c.isr) == 0 && len(c.elr) == 0 && len(c.old.LastKnownELR) == 1 && c.acceptable(c.old.LastKnownELR[0]):
		c.force(c.old.LastKnownELR[0])
		return
	}
	if next = slices.IndexFunc(c.old.Replicas, c.acceptable); c.unclean && next >= 0 {
		c.force(c.old.Replicas[next])
		return
	}
	c.leader = metadata.NoLeader
}

// force elects a leader that may lack committed records (KIP-704).
//
// Differs from Kafka: an unclean election of the only replica of a partition does not mark the leader as recovering: there
// is nothing to recover from.
func (c *change) force(leader int32) {
	c.leader, c.isr, c.elr = leader, []int32{leader}, nil
	if len(c.old.Replicas) > 1 {
		c.recovery = metadata.Recovering
	}
}

// record says what differs, or nil when nothing does.
func (c *change) record() *wire.PartitionChangeRecord {
	r := &wire.PartitionChangeRecord{}
	r.SetDefaults()
	r.TopicID, r.PartitionID = c.topic.ID, c.index
	some := c.bump || c.leader != c.old.Leader
	if some {
		r.Leader = c.leader
	}
	set := func(field *[]int32, now, before []int32) {
		if !slices.Equal(now, before) {
			*field = append([]int32{}, now...)
			some = true
		}
	}
	if c.leader == metadata.NoLeader && c.old.Leader != metadata.NoLeader && len(c.isr) == 0 {
		c.lastKnown = []int32{c.old.Leader}
	} else if c.leader != metadata.NoLeader {
		c.lastKnown = nil
	}
	set(&r.ISR, c.isr, c.old.ISR)
	set(&r.EligibleLeaderReplicas, c.elr, c.old.ELR)
	set(&r.LastKnownELR, c.lastKnown, c.old.LastKnownELR)
	if c.recovery != c.old.RecoveryState {
		r.LeaderRecoveryState = c.recovery
		some = true
	}
	if !some {
		return nil
	}
	return r
}

// leave takes a broker that is fenced, shuts down or comes back as a new
// incarnation out of ISRs and leaderships. unclean: it may have lost what it had.
//
// Differs from Kafka: the leader of a partition with one replica stays its leader when it goes. Kafka makes such partitions
// leaderless and elects the same broker when it is back; here a new leader epoch is enough, and that only after an unclean
// end, so that clients look for what was cut off.
func (d *decider) leave(broker int32, unclean bool) {
	for _, t := range d.image.SortedTopics() {
		for i, p := range t.Partitions {
			if !slices.Contains(p.ISR, broker) && p.Leader != broker && !slices.Contains(p.ELR, broker) {
				continue
			}
			if len(p.Replicas) == 1 && len(p.ISR) == 1 {
				if unclean && p.Leader == broker {
					d.add(sameLeader(t.ID, int32(i), broker))
				}
				continue
			}
			gone := int32(-1)
			if unclean {
				gone = broker
			}
			c := d.newChange(t, int32(i))
			if isr := slices.DeleteFunc(slices.Clone(p.ISR), func(b int32) bool { return b == broker }); len(isr) > 0 || c.elrOn {
				c.isr = isr // without eligible leaders the last member stays, so that somebody may lead again
			}
			c.acceptable = func(b int32) bool { return b != broker && d.image.Broker(b).Active() }
			c.eligible(gone)
			c.elect()
			if r := c.record(); r != nil {
				d.add(r)
			}
		}
	}
}

// sameLeader begins a new leader epoch under the same leader.
func sameLeader(topic wire.UUID, index, leader int32) *wire.PartitionChangeRecord {
	r := &wire.PartitionChangeRecord{}
	r.SetDefaults()
	r.TopicID, r.PartitionID, r.Leader = topic, index, leader
	return r
}

// join gives a broker that was unfenced the leadership of partitions that have no leader.
func (d *decider) join(broker int32) {
	for _, t := range d.image.SortedTopics() {
		for i, p := range t.Partitions {
			if p.Leader != metadata.NoLeader || !slices.Contains(p.Replicas, broker) {
				continue
			}
			c := d.newChange(t, int32(i))
			c.acceptable = func(b int32) bool { return b == broker || d.image.Broker(b).Active() }
			c.elect()
			if r := c.record(); r != nil {
				d.add(r)
			}
		}
	}
}

func (d partitions) electLeaders(r *wire.ElectLeadersRequest) Decision {
	reply := &wire.ElectLeadersResponse{ReplicaElectionResults: []wire.ElectLeadersResponseReplicaElectionResult{}}
	if r.ElectionType != 0 && r.ElectionType != 1 {
		return Decision{Reply: unknownElection(r)}
	}
	wanted := r.TopicPartitions
	all := wanted == nil
	if all {
		for _, t := range d.image.SortedTopics() {
			w := wire.ElectLeadersRequestTopicPartitions{Topic: t.Name}
			for i := range t.Partitions {
				w.Partitions = append(w.Partitions, int32(i))
			}
			wanted = append(wanted, w)
		}
	}
	for _, w := range wanted {
		result := wire.ElectLeadersResponseReplicaElectionResult{Topic: w.Topic, PartitionResult: []wire.ElectLeadersResponsePartitionResult{}}
		for _, i := range w.Partitions {
			f := d.electLeader(w.Topic, i, r.ElectionType == 1)
			if all && f != nil && f.code == wire.ElectionNotNeeded {
				continue // with no list, only what was done or failed is told
			}
			p := wire.ElectLeadersResponsePartitionResult{PartitionID: i}
			p.ErrorCode, p.ErrorMessage = f.parts()
			result.PartitionResult = append(result.PartitionResult, p)
		}
		reply.ReplicaElectionResults = append(reply.ReplicaElectionResults, result)
	}
	decision := d.done(reply, false)
	decision.Splittable = true
	return decision
}

// unknownElection refuses a request by all that it names.
func unknownElection(r *wire.ElectLeadersRequest) *wire.ElectLeadersResponse {
	reply := &wire.ElectLeadersResponse{ErrorCode: wire.InvalidRequest, ReplicaElectionResults: []wire.ElectLeadersResponseReplicaElectionResult{}}
	f := refuse(wire.InvalidRequest, "Unknown election type %d", r.ElectionType)
	for _, w := range r.TopicPartitions {
		result := wire.ElectLeadersResponseReplicaElectionResult{Topic: w.Topic, PartitionResult: []wire.ElectLeadersResponsePartitionResult{}}
		for _, i := range w.Partitions {
			result.PartitionResult = append(result.PartitionResult, wire.ElectLeadersResponsePartitionResult{PartitionID: i, ErrorCode: f.code, ErrorMessage: f.message})
		}
		reply.ReplicaElectionResults = append(reply.ReplicaElectionResults, result)
	}
	return reply
}

func (d partitions) electLeader(name string, index int32, unclean bool) *fault {
	t, ok := d.image.Topic(name)
	if !ok {
		return refuse(wire.UnknownTopicOrPartition, "No such topic as %s", name)
	}
	if index < 0 || int(index) >= len(t.Partitions) {
		return refuse(wire.UnknownTopicOrPartition, "No such partition as %s", name+"-"+strconv.Itoa(int(index)))
	}
	p := t.Partitions[index]
	if !unclean && p.Leader == p.Replicas[0] || unclean && p.Leader != metadata.NoLeader {
		return standard(wire.ElectionNotNeeded)
	}
	c := d.newChange(t, index)
	if !unclean && slices.Contains(p.ISR, p.Replicas[0]) && c.acceptable(p.Replicas[0]) {
		c.leader = p.Replicas[0]
	} else {
		c.unclean = unclean
		c.elect()
	}
	rec := c.record()
	switch {
	case rec != nil:
		d.add(rec)
		return nil
	case unclean:
		return standard(wire.EligibleLeadersNotAvailable)
	default:
		return standard(wire.PreferredLeaderNotAvailable)
	}
}
