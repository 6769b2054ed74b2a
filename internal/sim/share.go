package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// ShareResult is what one run of share groups did.
type ShareResult struct {
	Ends
	// Produced counts acknowledged records, Accepted and Rejected those whose end was confirmed.
	Produced, Accepted, Rejected int
	// Delivered counts deliveries, Again those with a delivery count above one, Last those at the limit.
	Delivered, Again, Last int
	// Released and Renewed count confirmed acknowledgements of these kinds, Unknown those that were not confirmed.
	Released, Renewed, Unknown int
	// Refused counts acknowledgements of records that the member had no more, Sessions the sessions that were lost, Expelled the members.
	Refused, Sessions, Expelled int
}

// Add adds what another run did.
func (r *ShareResult) Add(o ShareResult) {
	r.add(o.Ends)
	r.Produced += o.Produced
	r.Accepted, r.Rejected, r.Delivered = r.Accepted+o.Accepted, r.Rejected+o.Rejected, r.Delivered+o.Delivered
	r.Again, r.Last, r.Released, r.Renewed = r.Again+o.Again, r.Last+o.Last, r.Released+o.Released, r.Renewed+o.Renewed
	r.Unknown, r.Refused, r.Sessions, r.Expelled = r.Unknown+o.Unknown, r.Refused+o.Refused, r.Sessions+o.Sessions, r.Expelled+o.Expelled
}

// Vacuous tells that a path was never taken.
func (r *ShareResult) Vacuous() bool {
	return r.Kills == 0 || r.PowerCuts == 0 || r.Produced == 0 || r.Accepted == 0 || r.Rejected == 0 || r.Delivered == 0 || r.Again == 0 ||
		r.Last == 0 || r.Released == 0 || r.Renewed == 0 || r.Unknown == 0 || r.Refused == 0 || r.Sessions == 0 || r.Expelled == 0
}

// Shape of a run of share groups.
const (
	shareGroupID = "sharers"
	shareTopic   = "work"
	shareParts   = 2
	shareMembers = 3
	shareSteps   = 400
	shareLimit   = 5               // group.share.delivery.count.limit
	shareLock    = 3 * time.Second // group.share.record.lock.duration.ms
	shareCalm    = 3 * time.Minute
)

// Kinds of acknowledgement.
const (
	ackAccept  int8 = 1
	ackRelease int8 = 2
	ackReject  int8 = 3
	ackRenew   int8 = 4
)

// shareRecord is what is known of one record.
type shareRecord struct {
	acked     bool // its producer knows that it is there
	delivered int  // deliveries
	count     int16
	ended     bool // an accept or reject was confirmed
	maybe     bool // one was sent whose answer did not come
}

// shareRun is one seed's life: members of a share group take records, accept, release, reject and renew them, stall and die,
// while the node dies at any point.
type shareRun struct {
	*Rig
	rng      *rand.Rand
	topic    wire.UUID
	producer port
	members  []*sharer
	records  [shareParts]map[int64]*shareRecord
	result   ShareResult
	calm     bool
	failed   error
}

// RunShareGroups plays one seed.
func RunShareGroups(rig *Rig) (ShareResult, error) {
	r := &shareRun{Rig: rig, rng: rand.New(rand.NewPCG(rig.seed, 103)), producer: port{rig: rig}}
	r.setAll("share.coordinator.state.topic.replication.factor", "1", "share.coordinator.state.topic.num.partitions", "2",
		"share.coordinator.state.topic.min.isr", "1", "share.coordinator.snapshot.update.records.per.snapshot", "5",
		"share.coordinator.state.topic.prune.interval.ms", "2000", "share.coordinator.cold.partition.snapshot.interval.ms", "5000",
		"group.share.min.session.timeout.ms", "1000", "group.share.session.timeout.ms", "10000",
		"group.share.min.heartbeat.interval.ms", "100", "group.share.heartbeat.interval.ms", "1000",
		"group.share.initialize.retry.interval.ms", "1000", "group.share.assignment.interval.ms", "0",
		"group.share.min.record.lock.duration.ms", "1000", "group.share.record.lock.duration.ms", "3000")
	for p := range r.records {
		r.records[p] = map[int64]*shareRecord{}
	}
	for i := range shareMembers {
		m := &sharer{r: r, beats: port{rig: rig}, work: port{rig: rig}, name: fmt.Sprint("sharer-", i)}
		m.forget()
		r.members = append(r.members, m)
	}
	err := rig.play(r.live, r.finish)
	return r.result, err
}

func (r *shareRun) live(life int) error {
	if err := r.begin(); err != nil {
		return err
	}
	if life == 0 {
		if err := r.create(); err != nil {
			return err
		}
	}
	planned := r.rng.IntN(3) == 0
	if planned {
		r.disk.CutAt(1 + r.rng.Int64N(800))
	}
	for range shareSteps {
		r.step()
		if r.failed != nil {
			return r.failed
		}
	}
	r.end(&r.result.Ends, planned || r.rng.IntN(2) == 0)
	return nil
}

// begin boots; now and then the power is cut meanwhile, or soon after.
func (r *shareRun) begin() error {
	if err := r.bootThrough(&r.result.Ends, r.rng, cuts{odds: 4, writes: 150, within: time.Second}); err != nil {
		return err
	}
	r.producer.reset()
	for _, m := range r.members {
		m.crashed()
	}
	return nil
}

func (r *shareRun) create() (err error) {
	if r.topic, err = r.createTopic(shareTopic, shareParts); err != nil {
		return err
	}
	if err := r.findCoordinator(0, shareGroupID); err != nil {
		return err
	}
	if err := r.findCoordinator(2, shareGroupID+":"+r.topic.String()+":0"); err != nil {
		return err
	}
	value := "earliest"
	req := &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{
		ResourceType: 32, ResourceName: shareGroupID, Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: "share.auto.offset.reset", Value: &value}},
	}}}
	resp := &wire.IncrementalAlterConfigsResponse{}
	if err := r.Call(req, 1, resp); err != nil {
		return err
	}
	if code := resp.Responses[0].ErrorCode; code != wire.None {
		return code
	}
	return nil
}

func (r *shareRun) step() {
	if !r.calm && r.rng.IntN(8) == 0 {
		r.produce()
	}
	r.members[r.rng.IntN(len(r.members))].step()
	for range r.rng.IntN(6) {
		r.hand.RunOne()
	}
	if r.rng.IntN(3) == 0 {
		r.hand.Advance(time.Duration(r.rng.Int64N(int64(300 * time.Millisecond))))
	}
}

func (r *shareRun) violated(format string, args ...any) {
	if r.failed == nil {
		r.failed = fmt.Errorf(format, args...)
	}
}

// at is the record at an offset; readers may know of it before its producer does.
func (r *shareRun) at(p int32, offset int64) *shareRecord {
	rec := r.records[p][offset]
	if rec == nil {
		rec = &shareRecord{}
		r.records[p][offset] = rec
	}
	return rec
}

// produce sends a batch of a few records.
func (r *shareRun) produce() {
	if r.producer.busy {
		return
	}
	p, count := r.rng.Int32N(shareParts), 1+r.rng.IntN(5)
	b := record.NewBuilder(nil, record.Options{Codec: compress.None, Level: compress.DefaultLevel})
	for i := range count {
		b.Append(clock.Millis(r.hand.Now()), nil, binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	batch, err := b.Finish()
	invariant.Check(err == nil, "a batch of a few numbers: %v", err)
	req := &wire.ProduceRequest{}
	req.SetDefaults()
	req.Acks, req.TimeoutMs = -1, 10_000
	req.TopicData = []wire.ProduceRequestTopicProduceData{{
		Name: shareTopic, PartitionData: []wire.ProduceRequestPartitionProduceData{{Index: p, Records: batch}},
	}}
	resp := &wire.ProduceResponse{}
	r.producer.ask(req, produceLevel, resp, func(err error) {
		if err != nil {
			return
		}
		part := &resp.Responses[0].PartitionResponses[0]
		if part.ErrorCode != wire.None {
			return
		}
		for i := range int64(count) {
			r.at(p, part.BaseOffset+i).acked = true
		}
		r.result.Produced += count
	})
}

// finish boots a last time and has well behaved members work until nothing is left.
func (r *shareRun) finish() error {
	if err := r.begin(); err != nil {
		return err
	}
	r.calm = true
	end := r.hand.Now().Add(shareCalm)
	for quiet := 0; quiet < 20; quiet++ {
		if !r.hand.Now().Before(end) {
			return r.left()
		}
		for range 20 {
			r.step()
		}
		if r.failed != nil {
			return r.failed
		}
		if r.left() != nil {
			quiet = 0
		}
	}
	return r.Stop()
}

// left tells of a record that was neither brought to an end nor delivered as often as is allowed.
func (r *shareRun) left() error {
	for p := range r.records {
		offsets := make([]int64, 0, len(r.records[p]))
		for offset := range r.records[p] { //unordered: sorted next
			offsets = append(offsets, offset)
		}
		slices.Sort(offsets)
		for _, offset := range offsets {
			if rec := r.records[p][offset]; rec.acked && !rec.ended && !rec.maybe && rec.count < shareLimit {
				return fmt.Errorf("record %d of partition %d was delivered %d times, with counts up to %d, and then no more", offset, p, rec.delivered, rec.count)
			}
		}
	}
	for _, m := range r.members {
		if len(m.held) > 0 || m.epoch == 0 {
			return errors.New("members are busy")
		}
	}
	return nil
}
