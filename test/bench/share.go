package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

const (
	shareMembers     = 4
	sharePartitions  = 4
	shareRecords     = 500 // most that one answer has, as consumers ask for by default
	shareBytes       = 2e9
	shareHeartbeat   = 1
	shareFetch       = 1
	configOfGroup    = 32 // the resource type of a group's settings
	configSet        = 0
	accept           = 1
	shareBeatEvery   = 2 * time.Second
	shareEmptyRounds = 200
)

// setConfigs sets one dynamic setting of a resource.
func setConfig(addr string, kind int8, name, key, value string) error {
	req := &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{ResourceType: kind, ResourceName: name,
		Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, ConfigOperation: configSet, Value: &value}}}}}
	var resp wire.IncrementalAlterConfigsResponse
	if err := ask(addr, req, &resp, 1); err != nil {
		return err
	}
	for _, r := range resp.Responses {
		if r.ErrorCode != 0 {
			return fmt.Errorf("set %s of %s: %w: %s", key, name, r.ErrorCode, text(r.ErrorMessage))
		}
	}
	return nil
}

// shareLoad is the members of one share group, which take records and accept them with the next fetch.
type shareLoad struct {
	topic   *topic
	group   string
	taken   atomic.Int64
	fetches atomic.Int64
	stop    atomic.Bool
}

// member runs one member on a connection of its own.
func (l *shareLoad) member(i int) error {
	c, err := dial(l.topic.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	id := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "share-member-%03d", i))
	partitions, epoch, err := l.join(c, id)
	if err != nil {
		return err
	}
	beaten := time.Now()
	acks := map[int32][]wire.ShareFetchRequestAcknowledgementBatch{}
	for session, empty := int32(0), 0; !l.stop.Load() && empty < shareEmptyRounds; session++ {
		if time.Since(beaten) > shareBeatEvery {
			if _, _, err := l.beat(c, id, epoch); err != nil {
				return err
			}
			beaten = time.Now()
		}
		n, err := l.fetch(c, id, session, partitions, acks)
		if err != nil {
			return err
		}
		if empty++; n > 0 {
			empty = 0
		}
	}
	return nil
}

func (l *shareLoad) beat(c *conn, id string, epoch int32) ([]int32, int32, error) {
	req := &wire.ShareGroupHeartbeatRequest{}
	req.SetDefaults()
	req.GroupID, req.MemberID, req.MemberEpoch = l.group, id, epoch
	if epoch == 0 {
		req.SubscribedTopicNames = []string{l.topic.name}
	}
	var resp wire.ShareGroupHeartbeatResponse
	if err := c.call(req, &resp, shareHeartbeat); err != nil {
		return nil, 0, err
	}
	if resp.ErrorCode != 0 {
		return nil, 0, fmt.Errorf("ShareGroupHeartbeat: %w: %s", resp.ErrorCode, text(resp.ErrorMessage))
	}
	var partitions []int32
	if resp.Assignment != nil {
		for _, t := range resp.Assignment.TopicPartitions {
			partitions = append(partitions, t.Partitions...)
		}
	}
	return partitions, resp.MemberEpoch, nil
}

// join sends heartbeats until the member has partitions.
func (l *shareLoad) join(c *conn, id string) (partitions []int32, epoch int32, err error) {
	err = eventually(setupTimeout, 50*time.Millisecond, func() (err error) {
		if partitions, epoch, err = l.beat(c, id, epoch); err == nil && len(partitions) == 0 {
			err = errors.New("a member of a share group has no partition")
		}
		return err
	})
	return partitions, epoch, err
}

// fetch takes records and accepts those of the fetch before.
func (l *shareLoad) fetch(c *conn, id string, session int32, partitions []int32, acks map[int32][]wire.ShareFetchRequestAcknowledgementBatch) (int64, error) {
	req := &wire.ShareFetchRequest{}
	req.SetDefaults()
	req.GroupID, req.MemberID = &l.group, &id
	req.ShareSessionEpoch, req.MaxWaitMs, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = session, 50, 1, 1<<20, shareRecords, shareRecords
	t := wire.ShareFetchRequestFetchTopic{TopicID: l.topic.id}
	for _, p := range partitions {
		if session == 0 || len(acks[p]) > 0 {
			t.Partitions = append(t.Partitions, wire.ShareFetchRequestFetchPartition{PartitionIndex: p, AcknowledgementBatches: acks[p]})
		}
	}
	if len(t.Partitions) > 0 {
		req.Topics = append(req.Topics, t)
	}
	var resp wire.ShareFetchResponse
	if err := c.call(req, &resp, shareFetch); err != nil {
		return 0, err
	}
	if resp.ErrorCode != 0 {
		return 0, fmt.Errorf("ShareFetch: %w: %s", resp.ErrorCode, text(resp.ErrorMessage))
	}
	clear(acks)
	n := int64(0)
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 || p.AcknowledgeErrorCode != 0 {
				return 0, fmt.Errorf("ShareFetch of partition %d: %v, acknowledging: %v", p.PartitionIndex, p.ErrorCode, p.AcknowledgeErrorCode)
			}
			for _, r := range p.AcquiredRecords {
				n += r.LastOffset - r.FirstOffset + 1
				acks[p.PartitionIndex] = append(acks[p.PartitionIndex], wire.ShareFetchRequestAcknowledgementBatch{FirstOffset: r.FirstOffset, LastOffset: r.LastOffset, AcknowledgeTypes: []int8{accept}})
			}
		}
	}
	l.taken.Add(n)
	l.fetches.Add(1)
	return n, nil
}

// shareDelivery measures the records that a share group is given, for each second of the server's CPU. They lie in the page cache.
func shareDelivery(b *bench, a arm, d time.Duration) (sample, error) {
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	fresh := b.kept[a] == nil
	t, err := b.topic(a, sharePartitions, true)
	if err != nil {
		return nil, err
	}
	if fresh {
		set, err := shape{partitions: sharePartitions, perRequest: 1, records: 100, valueSize: 100, conns: 1}.requests(t)
		if err != nil {
			return nil, err
		}
		if err := b.fillWith(t, set, min(b.flags.bytes/2, shareBytes), 1); err != nil {
			return nil, v.explain(err)
		}
		syncDisks()
	}
	l := &shareLoad{topic: t, group: fmt.Sprintf("share-%d", time.Now().UnixNano())}
	if err := setConfig(v.addr, configOfGroup, l.group, "share.auto.offset.reset", "earliest"); err != nil {
		return nil, v.explain(err)
	}
	total, err := t.total()
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	errs := make([]error, shareMembers)
	for i := range errs {
		wg.Go(func() {
			if errs[i] = l.member(i); errs[i] != nil {
				l.stop.Store(true)
			}
		})
	}
	s, err := l.watch(v, total, d)
	l.stop.Store(true)
	wg.Wait()
	if failed := firstError(append(errs, err)); failed != nil {
		return nil, v.explain(failed)
	}
	if l.taken.Load() > total {
		return nil, fmt.Errorf("%d records were given, there are %d", l.taken.Load(), total)
	}
	return s, nil
}

// watch measures until the time is up or nearly all records are taken.
func (l *shareLoad) watch(v *server, total int64, d time.Duration) (sample, error) {
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for begin := time.Now(); l.taken.Load() == 0 && time.Since(begin) < setupTimeout && !l.stop.Load(); {
		<-tick.C
	}
	i, err := beginInterval(v.pid)
	if err != nil {
		return nil, err
	}
	first, fetches := l.taken.Load(), l.fetches.Load()
	for time.Since(i.begin) < d && l.taken.Load() < total*95/100 && !l.stop.Load() {
		<-tick.C
	}
	n := l.taken.Load() - first
	u, err := i.end()
	if err != nil {
		return nil, err
	}
	s := sample{"records_per_cpu_s": float64(n) / u.server.Seconds(), "records_per_s": float64(n) / u.wall.Seconds(),
		"records_per_fetch": float64(n) / float64(l.fetches.Load()-fetches)}
	s.account(u)
	return s, nil
}
