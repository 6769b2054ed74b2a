package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/streams"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveStreamsGroupHeartbeat serves members of streams groups (KIP-1071) and has the internal topics created that
// their topologies need.
func serveStreamsGroupHeartbeat(b *Broker, q *edge.Request, m *wire.StreamsGroupHeartbeatRequest, answer func(*wire.StreamsGroupHeartbeatResponse)) {
	if m.Topology != nil {
		if message := badTopologyTopics(m.Topology); message != "" {
			answer(streams.Refuse(wire.StreamsInvalidTopology, message).Response)
			return
		}
		if b.authorizer != nil && !b.mayDescribe(q, topologyTopics(m.Topology)) {
			answer(refuseStreamsGroup(m, wire.TopicAuthorizationFailed))
			return
		}
	}
	b.groups.StreamsGroupHeartbeat(m, client(q), q.Version, func(a streams.Answer) {
		if !b.refuseForStreams(q, &a) {
			b.createForStreams(a)
		}
		answer(a.Response)
	})
}

// topologyTopics are the topics that a topology names, each once.
func topologyTopics(t *wire.StreamsGroupHeartbeatRequestTopology) []string {
	var names []string
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		names = append(append(names, s.SourceTopics...), s.RepartitionSinkTopics...)
		for _, infos := range [][]wire.StreamsGroupHeartbeatRequestTopicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range infos {
				names = append(names, infos[j].Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// refuseForStreams tells the member of internal topics that it may not have created; none is then.
func (b rights) refuseForStreams(q *edge.Request, a *streams.Answer) bool {
	if b.authorizer == nil || len(a.Create) == 0 {
		return false
	}
	everywhere := b.everywhere(q, acl.Create)
	var refused []string
	for i := range a.Create {
		if name := a.Create[i].Name; !b.mayCreate(q, everywhere, name) {
			refused = append(refused, name)
		}
	}
	if len(refused) == 0 {
		return false
	}
	message := "Unauthorized to CREATE on topics " + strings.Join(refused, ", ") + "."
	for i := range a.Response.Status {
		if s := &a.Response.Status[i]; s.StatusCode == streams.StatusMissingInternalTopics {
			s.StatusDetail += "; " + message
			return true
		}
	}
	a.Response.Status = append(a.Response.Status, wire.StreamsGroupHeartbeatResponseStatus{StatusCode: streams.StatusMissingInternalTopics, StatusDetail: message})
	return true
}

// badTopologyTopics tells what is wrong with the names of a topology's topics, "" when nothing is.
func badTopologyTopics(t *wire.StreamsGroupHeartbeatRequestTopology) string {
	var internal, invalid []string
	seen := map[string]bool{}
	look := func(name string) {
		switch {
		case seen[name]:
		case internalTopic(name):
			internal = append(internal, name)
		case !validTopicName(name):
			invalid = append(invalid, name)
		}
		seen[name] = true
	}
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		for _, names := range [][]string{s.SourceTopics, s.RepartitionSinkTopics} {
			for _, name := range names {
				look(name)
			}
		}
		for _, infos := range [][]wire.StreamsGroupHeartbeatRequestTopicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range infos {
				look(infos[j].Name)
			}
		}
	}
	switch {
	case len(internal) > 0:
		return "Use of Kafka internal topics " + strings.Join(internal, ",") + " in a Kafka Streams topology is prohibited."
	case len(invalid) > 0:
		return "Topic names " + strings.Join(invalid, ",") + " are not valid topic names."
	default:
		return ""
	}
}

// creationLimit bounds the internal topics whose creation is remembered.
const creationLimit = 10_000

// creations are internal topics of streams groups that are being created or could not be.
type creations struct {
	mu     sync.Mutex
	flying map[string]bool
	errors map[string]creationError
}

type creationError struct {
	message string
	until   time.Duration // Mono
}

// start takes those of the topics that nobody is creating yet.
func (c *creations) start(topics []wire.CreateTopicsRequestCreatableTopic) []wire.CreateTopicsRequestCreatableTopic {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying == nil {
		c.flying, c.errors = map[string]bool{}, map[string]creationError{}
	}
	var out []wire.CreateTopicsRequestCreatableTopic
	for i := range topics {
		if name := topics[i].Name; !c.flying[name] && len(c.flying) < creationLimit {
			c.flying[name] = true
			out = append(out, topics[i])
		}
	}
	return out
}

// finish notes what became of the topics. Errors are kept for as long as a member may take to hear of them.
func (c *creations) finish(topics []wire.CreateTopicsRequestCreatableTopic, failures map[string]string, now, keep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, e := range c.errors { //unordered: each stands for itself
		if e.until <= now {
			delete(c.errors, name)
		}
	}
	for i := range topics {
		name := topics[i].Name
		delete(c.flying, name)
		if message, failed := failures[name]; failed && len(c.errors) < creationLimit {
			c.errors[name] = creationError{message, now + keep}
		} else {
			delete(c.errors, name)
		}
	}
}

// failed tells why some of the topics could not be created.
func (c *creations) failed(topics []wire.CreateTopicsRequestCreatableTopic, now time.Duration) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for i := range topics {
		if e, ok := c.errors[topics[i].Name]; ok && e.until > now {
			parts = append(parts, fmt.Sprintf("%s (%s)", topics[i].Name, e.message))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// createForStreams has the controller create what a streams group waits for. The answer does not wait for that, since
// the member comes again anyway, but tells if it has failed before.
func (b *Broker) createForStreams(a streams.Answer) {
	if len(a.Create) == 0 {
		return
	}
	if message := b.creations.failed(a.Create, b.world.Mono()); message != "" {
		for i := range a.Response.Status {
			if s := &a.Response.Status[i]; s.StatusCode == streams.StatusMissingInternalTopics {
				s.StatusDetail += "; Creation failed: " + message + "."
			}
		}
	}
	create := &wire.CreateTopicsRequest{}
	create.SetDefaults()
	create.Topics = b.creations.start(a.Create)
	if len(create.Topics) == 0 {
		return
	}
	keep := 3 * time.Duration(a.Response.HeartbeatIntervalMs) * time.Millisecond
	b.quorum.Propose(create, func(reply any, err error) {
		b.creations.finish(create.Topics, creationFailures(create.Topics, reply, err), b.world.Mono(), keep)
	})
}

// creationFailures are the topics that were not created, with the reasons.
func creationFailures(topics []wire.CreateTopicsRequestCreatableTopic, reply any, err error) map[string]string {
	failures := map[string]string{}
	resp, ok := reply.(*wire.CreateTopicsResponse)
	if err != nil || !ok {
		for i := range topics {
			failures[topics[i].Name] = fmt.Sprintf("the controller did not decide: %v", err)
		}
		return failures
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode == wire.None || t.ErrorCode == wire.TopicAlreadyExists {
			continue
		}
		failures[t.Name] = t.ErrorCode.String()
		if t.ErrorMessage != nil {
			failures[t.Name] = *t.ErrorMessage
		}
	}
	return failures
}

// serveStreamsGroupDescribe describes streams groups that the peer may describe, with what it may do to them if it asks. Of a group
// with topics that it may not know of it learns nothing.
func serveStreamsGroupDescribe(b *Broker, q *edge.Request, m *wire.StreamsGroupDescribeRequest, answer func(*wire.StreamsGroupDescribeResponse)) {
	operations := m.IncludeAuthorizedOperations
	may, mayNot := b.describable(q, m.GroupIDs)
	m.GroupIDs = may
	b.groups.StreamsGroupDescribe(m, client(q), q.Version, func(resp *wire.StreamsGroupDescribeResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if operations && g.ErrorCode == wire.None {
				g.AuthorizedOperations = b.groupBits(q, g.GroupID)
			}
			if b.authorizer != nil && !b.mayDescribe(q, streamsTopics(g)) {
				id := g.GroupID
				*g = wire.StreamsGroupDescribeResponseDescribedGroup{}
				g.SetDefaults()
				g.GroupID, g.ErrorCode, g.ErrorMessage = id, wire.TopicAuthorizationFailed, text(notDescribable)
			}
		}
		for _, id := range mayNot {
			g := wire.StreamsGroupDescribeResponseDescribedGroup{}
			g.SetDefaults()
			g.GroupID, g.ErrorCode = id, wire.GroupAuthorizationFailed
			resp.Groups = append(resp.Groups, g)
		}
		answer(resp)
	})
}

// streamsTopics are the topics that a description names, each once.
func streamsTopics(g *wire.StreamsGroupDescribeResponseDescribedGroup) []string {
	if g.Topology == nil {
		return nil
	}
	var names []string
	for i := range g.Topology.Subtopologies {
		s := &g.Topology.Subtopologies[i]
		names = append(append(names, s.SourceTopics...), s.RepartitionSinkTopics...)
		for k := range s.RepartitionSourceTopics {
			names = append(names, s.RepartitionSourceTopics[k].Name)
		}
		for k := range s.StateChangelogTopics {
			names = append(names, s.StateChangelogTopics[k].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
