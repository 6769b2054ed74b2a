package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

const (
	consumerConns            = 64 // that all members of a group of KIP-848 share: a heartbeat waits for nothing but its records
	consumerHeartbeatVersion = 1
)

// consumerMember is a scripted member of a group of KIP-848: it takes and gives back what it is told at once.
type consumerMember struct {
	id      string
	epoch   int32
	owned   []int32
	changed bool // what it owns is not what the coordinator knows
	joined  bool
}

// consumers is a group of such members.
type consumers struct {
	topic   *topic
	group   string
	conns   []*conn
	members []*consumerMember
}

func newConsumers(t *topic) (*consumers, error) {
	g := &consumers{topic: t, group: fmt.Sprintf("consumer-%d", time.Now().UnixNano())}
	for range consumerConns {
		c, err := dial(t.addr)
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		g.conns = append(g.conns, c)
	}
	return g, nil
}

func (g *consumers) close() error {
	var errs []error
	for _, c := range g.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (g *consumers) add(n int) {
	for range n {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		g.members = append(g.members, &consumerMember{id: base64.RawURLEncoding.EncodeToString(id[:])})
	}
}

// beat sends one heartbeat of a member and does what the answer says.
func (g *consumers) beat(c *conn, m *consumerMember) error {
	req := &wire.ConsumerGroupHeartbeatRequest{}
	req.SetDefaults()
	req.GroupID, req.MemberID, req.MemberEpoch = g.group, m.id, m.epoch
	if !m.joined {
		req.RebalanceTimeoutMs, req.SubscribedTopicNames = sessionTimeoutMs, []string{g.topic.name}
		req.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
	} else if m.changed {
		req.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
		if len(m.owned) > 0 {
			req.TopicPartitions = append(req.TopicPartitions, wire.ConsumerGroupHeartbeatRequestTopicPartitions{TopicID: g.topic.id, Partitions: m.owned})
		}
	}
	var resp wire.ConsumerGroupHeartbeatResponse
	if err := c.call(req, &resp, consumerHeartbeatVersion); err != nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("ConsumerGroupHeartbeat: %w: %s", resp.ErrorCode, text(resp.ErrorMessage))
	}
	m.joined, m.changed, m.epoch = true, false, resp.MemberEpoch
	if resp.Assignment != nil {
		m.owned = nil
		for _, t := range resp.Assignment.TopicPartitions {
			m.owned = append(m.owned, t.Partitions...)
		}
		m.changed = true
	}
	return nil
}

// round has every member send a heartbeat, the connections side by side.
func (g *consumers) round() error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.conns))
	for i, c := range g.conns {
		wg.Go(func() {
			for k := i; k < len(g.members) && errs[i] == nil; k += len(g.conns) {
				errs[i] = g.beat(c, g.members[k])
			}
		})
	}
	wg.Wait()
	return firstError(errs)
}

// stable tells whether every partition has an owner, in the same epoch and known to the coordinator.
func (g *consumers) stable() bool {
	owners := make([]bool, g.topic.partitions)
	n := 0
	for _, m := range g.members {
		if m.changed || m.epoch != g.members[0].epoch {
			return false
		}
		for _, p := range m.owned {
			if owners[p] {
				return false
			}
			owners[p] = true
			n++
		}
	}
	return n == len(owners)
}

// settle sends rounds of heartbeats until the group is stable after a change of its members.
func (g *consumers) settle(begin time.Time, beyond int32) (time.Duration, error) {
	for time.Since(begin) < groupTimeout {
		if err := g.round(); err != nil {
			return 0, err
		}
		if g.stable() && g.members[0].epoch > beyond {
			return time.Since(begin), nil
		}
	}
	return 0, fmt.Errorf("the group is not stable after %v", groupTimeout)
}

// leave takes the last member out.
func (g *consumers) leave() error {
	m := g.members[len(g.members)-1]
	g.members = g.members[:len(g.members)-1]
	m.epoch = -1
	return g.beat(g.conns[0], m)
}

// consumerGroup measures a group's birth, one member more, and one less, with the protocol of KIP-848.
func consumerGroup(b *bench, a arm, _ time.Duration) (sample, error) {
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	t, err := b.topic(a, groupMembers, true)
	if err != nil {
		return nil, err
	}
	g, err := newConsumers(t)
	if err != nil {
		return nil, err
	}
	defer g.close()
	if err := findCoordinator(t, "any"); err != nil {
		return nil, v.explain(err)
	}
	before, err := cpuOf(v.pid)
	if err != nil {
		return nil, err
	}
	s := sample{}
	step := func(name string, change func() error) error {
		beyond := int32(0)
		if len(g.members) > 0 {
			beyond = g.members[0].epoch
		}
		begin := time.Now()
		if err := change(); err != nil {
			return err
		}
		took, err := g.settle(begin, beyond)
		s[name] = took.Seconds() * 1e3
		return err
	}
	add := func(n int) func() error { return func() error { g.add(n); return nil } }
	if err := step("birth_ms", add(groupMembers)); err != nil {
		return nil, v.explain(err)
	}
	if err := step("join_ms", add(1)); err != nil {
		return nil, v.explain(err)
	}
	if err := step("leave_ms", g.leave); err != nil {
		return nil, v.explain(err)
	}
	cpu, err := cpuOf(v.pid)
	s["cpu_s"] = (cpu - before).Seconds()
	return s, err
}
