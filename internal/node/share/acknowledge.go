package share

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
)

// Acked is the outcome of a partition's acknowledgements.
type Acked struct {
	Topic wire.UUID
	Index int32
	Code  wire.Code
	Why   string
	empty bool // nothing was acknowledged
}

// acknowledgements are those of one request.
type acknowledgements struct {
	all []Acked
	// batches are those of all partitions, one behind the other.
	batches []machine.Acknowledgement
}

func (a *acknowledgements) recycle() {
	clear(a.all)
	clear(a.batches)
	a.all, a.batches = a.all[:0], a.batches[:0]
}

// Acknowledge is one ShareAcknowledge request.
type Acknowledge struct {
	Group, Member string
	Epoch         int32
	// Supports tells which acknowledge types the version has: up to Reject or up to Renew.
	Supports int8
	// Renewing allows Renew.
	Renewing bool
	Topics   []wire.ShareAcknowledgeRequestAcknowledgeTopic
	// Denied tells that the member may not read a topic; nil when it may read all.
	Denied func(topic wire.UUID) bool
	// Done is called once, with the answer.
	Done func(*Acknowledge)

	// The answer: for all, or for each partition.
	Code    wire.Code
	Results []Acked
	LockMs  int32
}

// Acknowledge serves a request. What is in it is not needed once the call has returned.
func (d *Delivery) Acknowledge(a *Acknowledge) {
	if a.Epoch == firstEpoch {
		a.Code = wire.InvalidShareSessionEpoch
		a.Done(a)
		return
	}
	d.mu.Lock()
	s, code := d.enter(a.Group, a.Member, a.Epoch)
	d.mu.Unlock()
	if a.Code = code; code != wire.None {
		a.Done(a)
		return
	}
	a.LockMs = int32(d.settingsOf(s.group).LockMs)
	list := acknowledgements{}
	job := acknowledging{d: d, s: s, supports: a.Supports, renewing: a.Renewing, denied: a.Denied, list: &list}
	for i := range a.Topics {
		t := &a.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			from := len(list.batches)
			for k := range p.AcknowledgementBatches {
				b := &p.AcknowledgementBatches[k]
				list.batches = append(list.batches, machine.Acknowledgement{Range: machine.Range{First: b.FirstOffset, Last: b.LastOffset}, Types: b.AcknowledgeTypes})
			}
			job.add(partitionKey{t.TopicID, p.PartitionIndex}, from)
		}
	}
	job.run(func() {
		a.Results = list.all
		if a.Epoch == finalEpoch {
			d.endSession(s)
		}
		a.Done(a)
	})
}

// hasAcknowledgements tells whether a fetch acknowledges something.
func (f *Fetch) hasAcknowledgements() bool {
	for i := range f.Topics {
		for j := range f.Topics[i].Partitions {
			if len(f.Topics[i].Partitions[j].AcknowledgementBatches) > 0 {
				return true
			}
		}
	}
	return false
}

// acknowledgeFetch takes the acknowledgements that came with a fetch.
func (d *Delivery) acknowledgeFetch(f *Fetch) {
	job := acknowledging{d: d, s: f.session, supports: f.Supports, renewing: f.Renewing, denied: f.Denied, list: &f.acks}
	for i := range f.Topics {
		t := &f.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			from := len(f.acks.batches)
			for k := range p.AcknowledgementBatches {
				b := &p.AcknowledgementBatches[k]
				f.acks.batches = append(f.acks.batches, machine.Acknowledgement{Range: machine.Range{First: b.FirstOffset, Last: b.LastOffset}, Types: b.AcknowledgeTypes})
			}
			job.add(partitionKey{t.TopicID, p.PartitionIndex}, from)
		}
	}
	f.left.Add(1)
	job.run(f.part)
}

// merge puts the outcomes into the fetch's answer.
func (a *acknowledgements) merge(f *Fetch) {
	for i := range a.all {
		k := &a.all[i]
		at := -1
		for j := range f.Results {
			if f.Results[j].Index == k.Index && f.Results[j].Topic == k.Topic {
				at = j
				break
			}
		}
		if at < 0 {
			f.Results = append(f.Results, Result{Topic: k.Topic, Index: k.Index})
			at = len(f.Results) - 1
		}
		f.Results[at].AckCode, f.Results[at].AckWhy = k.Code, k.Why
	}
}

// acknowledging is the acknowledgements of one request on their way.
type acknowledging struct {
	d        *Delivery
	s        *session
	supports int8
	renewing bool
	denied   func(topic wire.UUID) bool
	list     *acknowledgements
	work     []work
	// interested tells that there is something for a partition that there is.
	interested bool
}

// work is what one partition is told: those from one index of the batches on, up to another.
type work struct {
	slot, from, to int
	sp             *sharePartition
}

// add checks the acknowledgements of a partition, which are the last ones listed.
func (j *acknowledging) add(key partitionKey, from int) {
	slot := Acked{Topic: key.topic, Index: key.index}
	to := len(j.list.batches)
	sp := (*sharePartition)(nil)
	if _, known := j.d.image.Load().TopicByID(key.topic); !known {
		slot.Code = wire.UnknownTopicID
	} else if slot.Code = j.check(j.list.batches[from:to]); slot.Code == wire.None && j.denied != nil && j.denied(key.topic) {
		slot.Code = wire.TopicAuthorizationFailed
	} else if _, code := j.d.locate(key, true); slot.Code == wire.None && code == wire.UnknownTopicOrPartition {
		slot.Code = code
	} else if slot.Code == wire.None && to == from {
		slot.empty = true
	} else if slot.Code == wire.None {
		j.interested = true
		if sp = j.find(key); sp == nil {
			slot.Code, slot.Why = wire.UnknownTopicOrPartition, notHosted
		}
	}
	j.list.all = append(j.list.all, slot)
	if sp != nil {
		j.work = append(j.work, work{len(j.list.all) - 1, from, to, sp})
	}
}

// check refuses what no partition can be told.
func (j *acknowledging) check(batches []machine.Acknowledgement) wire.Code {
	before := int64(-1)
	for i := range batches {
		b := &batches[i]
		n := len(b.Types)
		if b.First > b.Last || b.First < before || n == 0 || n > 1 && b.Last-b.First != int64(n-1) {
			return wire.InvalidRequest
		}
		for _, t := range b.Types {
			if t < machine.Gap || t > j.supports || t == machine.Renew && !j.renewing {
				return wire.InvalidRequest
			}
		}
		before = b.Last
	}
	return wire.None
}

// notHosted is what Kafka says of a share partition that has nothing in delivery.
const notHosted = "This server does not host this topic-partition."

// find gives the share partition that acknowledgements are for. One that is not there has nothing in delivery.
func (j *acknowledging) find(key partitionKey) *sharePartition {
	j.d.mu.Lock()
	defer j.d.mu.Unlock()
	if sp := j.s.group.parts[key]; sp != nil && sp.usable() {
		return sp
	}
	return nil
}

// run tells the partitions, and calls done when all have answered. As in Kafka, partitions without acknowledgements are
// answered only beside others that have some.
func (j *acknowledging) run(done func()) {
	if !j.interested {
		j.list.all = slices.DeleteFunc(j.list.all, func(a Acked) bool { return a.empty })
	}
	if len(j.work) == 0 {
		done()
		return
	}
	left := newCountdown(len(j.work), done)
	for _, w := range j.work {
		slot := &j.list.all[w.slot]
		w.sp.acknowledge(j.s.member, j.list.batches[w.from:w.to], func(code wire.Code, why string) {
			slot.Code, slot.Why = code, why
			left.done()
		})
	}
}
