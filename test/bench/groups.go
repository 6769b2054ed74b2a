package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// The groups of groups1000: a member for every partition, and then one more.
const (
	groupMembers     = 1000
	groupTimeout     = 5 * time.Minute
	sessionTimeoutMs = 300_000 // nobody expires while others are being waited for
	groupPause       = 20 * time.Millisecond
	joinVersion      = 9
	syncVersion      = 5
	heartbeatVersion = 4
	leaveVersion     = 5
)

// errRebalance tells a member that it has to join again.
var errRebalance = errors.New("the group rebalances")

// classic is a group of scripted members that speak the classic protocol, each on a connection of its own: a JoinGroup that
// waits keeps its connection waiting.
type classic struct {
	topic  *topic
	group  string
	want   atomic.Int64 // members that the group has when it is stable
	stable atomic.Int64 // generation in which all members have their assignment
	synced sync.Map     // generation to *atomic.Int64: members with an assignment
	failed atomic.Pointer[error]
	done   chan struct{}
	wg     sync.WaitGroup
}

// classicMember is one member.
type classicMember struct {
	g          *classic
	c          *conn
	id         string
	generation int32
	leave      atomic.Bool
}

func (g *classic) fail(err error) {
	if err != nil {
		g.failed.CompareAndSwap(nil, &err)
	}
}

// add has another member join.
func (g *classic) add() (*classicMember, error) {
	c, err := dial(g.topic.addr)
	if err != nil {
		return nil, err
	}
	m := &classicMember{g: g, c: c}
	g.wg.Go(func() {
		defer c.Close()
		g.fail(m.run())
	})
	return m, nil
}

// run joins whenever the group rebalances, and asks often meanwhile: what is measured is the coordinator, not how rarely
// a client asks it.
func (m *classicMember) run() error {
	for {
		err := m.join()
		for err == nil {
			select {
			case <-m.g.done:
				return nil
			case <-time.After(groupPause):
			}
			if m.leave.Load() {
				return m.bye()
			}
			if int64(m.generation) == m.g.stable.Load() {
				continue // nothing to ask for until somebody comes or goes
			}
			err = m.heartbeat()
		}
		if !errors.Is(err, errRebalance) {
			return err
		}
	}
}

func (m *classicMember) join() error {
	var resp wire.JoinGroupResponse
	req := &wire.JoinGroupRequest{GroupID: m.g.group, SessionTimeoutMs: sessionTimeoutMs, RebalanceTimeoutMs: sessionTimeoutMs, MemberID: m.id,
		ProtocolType: "consumer", Protocols: []wire.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 64)}}}
	if err := m.c.call(req, &resp, joinVersion); err != nil {
		return err
	}
	if resp.ErrorCode == wire.MemberIDRequired {
		m.id = string([]byte(resp.MemberID)) // it lives longer than the response
		return m.join()
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("JoinGroup: %w", resp.ErrorCode)
	}
	m.generation = resp.GenerationID
	sync := &wire.SyncGroupRequest{GroupID: m.g.group, GenerationID: m.generation, MemberID: m.id}
	kind, protocol := "consumer", "range"
	sync.ProtocolType, sync.ProtocolName = &kind, &protocol
	if resp.Leader == m.id {
		for _, other := range resp.Members {
			sync.Assignments = append(sync.Assignments, wire.SyncGroupRequestAssignment{MemberID: string([]byte(other.MemberID)), Assignment: make([]byte, 32)})
		}
	}
	var assigned wire.SyncGroupResponse
	if err := m.c.call(sync, &assigned, syncVersion); err != nil {
		return err
	}
	switch assigned.ErrorCode {
	case 0:
		m.g.hasSynced(m.generation)
		return nil
	case wire.RebalanceInProgress:
		return errRebalance
	}
	return fmt.Errorf("SyncGroup: %w", assigned.ErrorCode)
}

// hasSynced counts the members that have their assignment; the last one makes the group stable.
func (g *classic) hasSynced(generation int32) {
	n, _ := g.synced.LoadOrStore(generation, &atomic.Int64{})
	if n.(*atomic.Int64).Add(1) == g.want.Load() {
		g.stable.Store(int64(generation))
	}
}

func (m *classicMember) heartbeat() error {
	var resp wire.HeartbeatResponse
	if err := m.c.call(&wire.HeartbeatRequest{GroupID: m.g.group, GenerationID: m.generation, MemberID: m.id}, &resp, heartbeatVersion); err != nil {
		return err
	}
	switch resp.ErrorCode {
	case 0:
		return nil
	case wire.RebalanceInProgress:
		return errRebalance
	}
	return fmt.Errorf("Heartbeat: %w", resp.ErrorCode)
}

func (m *classicMember) bye() error {
	var resp wire.LeaveGroupResponse
	err := m.c.call(&wire.LeaveGroupRequest{GroupID: m.g.group, Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: m.id}}}, &resp, leaveVersion)
	if err == nil && resp.ErrorCode != 0 {
		err = fmt.Errorf("LeaveGroup: %w", resp.ErrorCode)
	}
	return err
}

// settle waits until the group is stable with as many members.
func (g *classic) settle(begin time.Time) (time.Duration, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for g.stable.Load() == 0 {
		<-tick.C
		if err := g.failed.Load(); err != nil {
			return 0, *err
		}
		if time.Since(begin) > groupTimeout {
			return 0, fmt.Errorf("the group is not stable after %v", groupTimeout)
		}
	}
	return time.Since(begin), nil
}

// classicGroup measures a group's birth, one member more, and one less.
func classicGroup(b *bench, a arm, _ time.Duration) (sample, error) {
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	t, err := b.topic(a, groupMembers, true)
	if err != nil {
		return nil, err
	}
	g := &classic{topic: t, group: fmt.Sprintf("classic-%d", time.Now().UnixNano()), done: make(chan struct{})}
	defer g.wg.Wait()
	defer close(g.done)
	if err := findCoordinator(t, "any"); err != nil {
		return nil, v.explain(err)
	}
	before, err := cpuOf(v.pid)
	if err != nil {
		return nil, err
	}
	g.want.Store(groupMembers)
	begin := time.Now()
	for range groupMembers {
		if _, err := g.add(); err != nil {
			return nil, err
		}
	}
	s := sample{}
	step := func(name string, begin time.Time) error {
		took, err := g.settle(begin)
		s[name] = took.Seconds() * 1e3
		return err
	}
	if err := step("birth_ms", begin); err != nil {
		return nil, v.explain(err)
	}
	g.want.Store(groupMembers + 1)
	g.stable.Store(0)
	begin = time.Now()
	late, err := g.add()
	if err != nil {
		return nil, err
	}
	if err := step("join_ms", begin); err != nil {
		return nil, v.explain(err)
	}
	g.want.Store(groupMembers)
	late.leave.Store(true)
	g.stable.Store(0)
	if err := step("leave_ms", time.Now()); err != nil {
		return nil, v.explain(err)
	}
	cpu, err := cpuOf(v.pid)
	s["cpu_s"] = (cpu - before).Seconds()
	return s, err
}
