package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

const (
	commitConns    = 256 // each with a group of its own and one commit on its way
	commitVersion  = 8
	fetchesVersion = 8
	loadGroups     = 1000 // of groupload
	loadBatch      = 50   // groups that one OffsetFetch asks for
)

// commitRequest is a commit of the first partitions of a topic by a group without members.
func commitRequest(t *topic, group string, partitions int, offset int64) *wire.OffsetCommitRequest {
	req := &wire.OffsetCommitRequest{}
	req.SetDefaults()
	req.GroupID, req.GenerationIDOrMemberEpoch = group, -1
	req.Topics = []wire.OffsetCommitRequestTopic{{Name: t.name}}
	for p := range partitions {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, wire.OffsetCommitRequestPartition{PartitionIndex: int32(p), CommittedOffset: offset, CommittedLeaderEpoch: -1})
	}
	return req
}

// commit sends one commit and checks the answer.
func commit(c *conn, req *wire.OffsetCommitRequest) error {
	var resp wire.OffsetCommitResponse
	if err := c.call(req, &resp, commitVersion); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("commit of group %s, partition %d: %w", req.GroupID, p.PartitionIndex, p.ErrorCode)
			}
		}
	}
	return nil
}

// firstError is enough where all fail alike.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// findCoordinator asks until the group has a coordinator that answers.
func findCoordinator(t *topic, group string) error {
	c, err := dial(t.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return ready(c, commitRequest(t, group, 1, 0))
}

// ready tries a commit until the group's coordinator takes it.
func ready(c *conn, req *wire.OffsetCommitRequest) error {
	var found wire.FindCoordinatorResponse
	if err := c.call(&wire.FindCoordinatorRequest{CoordinatorKeys: []string{req.GroupID}}, &found, 4); err != nil {
		return err
	}
	return eventually(setupTimeout, 20*time.Millisecond, func() error { return commit(c, req) })
}

// offsetCommits measures commits of so many partitions each, by many groups at a time.
func offsetCommits(partitions int) func(*bench, arm, time.Duration) (sample, error) {
	return func(b *bench, a arm, d time.Duration) (sample, error) {
		v, err := b.server(a.side)
		if err != nil {
			return nil, err
		}
		t, err := b.topic(a, partitions, true)
		if err != nil {
			return nil, err
		}
		var done atomic.Int64
		var stop atomic.Bool
		var wg sync.WaitGroup
		errs := make([]error, commitConns)
		warm := make(chan struct{}, commitConns)
		for i := range commitConns {
			wg.Go(func() {
				errs[i] = committer(t, fmt.Sprintf("commit-%d", i), partitions, &done, &stop, warm)
				if errs[i] != nil {
					stop.Store(true)
					warm <- struct{}{}
				}
			})
		}
		for range commitConns {
			<-warm
		}
		<-time.After(rampUp)
		i, err := beginInterval(v.pid)
		if err != nil {
			return nil, err
		}
		first := done.Load()
		<-time.After(d)
		n := done.Load() - first
		u, err := i.end()
		stop.Store(true)
		wg.Wait()
		if failed := firstError(append(errs, err)); failed != nil {
			return nil, v.explain(failed)
		}
		s := sample{"commits_per_s": float64(n) / u.wall.Seconds(), "offsets_per_s": float64(n) * float64(partitions) / u.wall.Seconds(),
			"cpu_us_per_commit": u.server.Seconds() * 1e6 / float64(n)}
		s.account(u)
		return s, nil
	}
}

// committer commits growing offsets until it is stopped, and looks in the end whether the last is there.
func committer(t *topic, group string, partitions int, done *atomic.Int64, stop *atomic.Bool, warm chan<- struct{}) error {
	c, err := dial(t.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	req := commitRequest(t, group, partitions, 0)
	if err := ready(c, req); err != nil {
		return err
	}
	warm <- struct{}{}
	offset := int64(0)
	for !stop.Load() {
		offset++
		for p := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[p].CommittedOffset = offset
		}
		if err := commit(c, req); err != nil {
			return err
		}
		done.Add(1)
	}
	n, err := committed(c, []string{group}, offset)
	if err == nil && n != partitions {
		err = fmt.Errorf("group %s: %d of %d partitions have the offset that was committed last", group, n, partitions)
	}
	return err
}

// committed counts the partitions of the groups that are committed at the offset.
func committed(c *conn, groups []string, offset int64) (int, error) {
	req := &wire.OffsetFetchRequest{}
	req.SetDefaults()
	for _, g := range groups {
		req.Groups = append(req.Groups, wire.OffsetFetchRequestGroup{GroupID: g, MemberEpoch: -1}) // no topics: all
	}
	var resp wire.OffsetFetchResponse
	if err := c.call(req, &resp, fetchesVersion); err != nil {
		return 0, err
	}
	n := 0
	for _, g := range resp.Groups {
		if g.ErrorCode != 0 {
			return 0, fmt.Errorf("group %s: %w", g.GroupID, g.ErrorCode)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.CommittedOffset == offset {
					n++
				}
			}
		}
	}
	return n, nil
}

// groupLoad measures how long after its start a server answers for a million offsets that were committed before.
func groupLoad(b *bench, a arm, _ time.Duration) (sample, error) {
	perGroup := 1000
	if b.flags.quick {
		perGroup = 20
	}
	v, err := b.fleet.launch(a.side, "groupload-")
	if err != nil {
		return nil, err
	}
	t, err := createTopic(v.addr, "load", perGroup, nil)
	if err != nil {
		return nil, err
	}
	c, err := dial(v.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	groups := make([]string, loadGroups)
	for i := range groups {
		groups[i] = fmt.Sprintf("load-%d", i)
		if err := ready(c, commitRequest(t, groups[i], perGroup, 7)); err != nil {
			return nil, v.explain(err)
		}
	}
	if err := v.stop(); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := errors.Join(v.start(), v.ready()); err != nil {
		return nil, err
	}
	s := sample{"listening_ms": time.Since(begin).Seconds() * 1e3, "offsets": float64(perGroup * loadGroups)}
	again, err := dial(v.addr)
	if err != nil {
		return nil, err
	}
	defer again.Close()
	for from := 0; from < len(groups); from += loadBatch {
		some := groups[from : from+loadBatch]
		err := eventually(10*setupTimeout, retryPause, func() error {
			n, err := committed(again, some, 7)
			if err == nil && n != len(some)*perGroup {
				err = &finalError{fmt.Errorf("%d of %d offsets are there", n, len(some)*perGroup)}
			}
			return err
		})
		if err != nil {
			return nil, v.explain(err)
		}
	}
	s["answering_ms"] = time.Since(begin).Seconds() * 1e3
	cpu, err := cpuOf(v.pid)
	if err != nil {
		return nil, err
	}
	s["cpu_s"] = cpu.Seconds()
	return s, v.discard()
}
