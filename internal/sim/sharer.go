package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// sharer is one member of a share group. It beats on one connection and works on another.
type sharer struct {
	r      *shareRun
	name   string
	births int
	beats  port
	work   port

	id    string
	epoch int32
	parts []int32
	next  time.Time // when it beats
	until time.Time // it sleeps

	session int32
	held    []heldRecords
	pending []heldRecords // acknowledged, without an answer
}

// heldRecords are records that were acquired together.
type heldRecords struct {
	part        int32
	first, last int64
	since       time.Time // the lock began then or later
}

// forget is a new process.
func (m *sharer) forget() {
	m.doubt()
	m.births++
	m.beats.hangUp()
	m.work.hangUp()
	m.id = wire.UUID{15: byte(m.births), 14: byte(len(m.name)), 13: m.name[len(m.name)-1]}.String()
	m.epoch, m.parts, m.session, m.held, m.next = 0, nil, 0, nil, time.Time{}
}

// crashed is after the node's death.
func (m *sharer) crashed() {
	m.doubt()
	m.beats.reset()
	m.work.reset()
	if m.r.rng.IntN(2) == 0 { // else it goes on with a session that nobody knows
		m.session, m.held = 0, nil
	}
}

// doubt is for acknowledgements without an answer.
func (m *sharer) doubt() {
	for _, h := range m.pending {
		for offset := h.first; offset <= h.last; offset++ {
			m.r.at(h.part, offset).maybe = true
			m.r.result.Unknown++
		}
	}
	m.pending = nil
}

// step does the next thing.
func (m *sharer) step() {
	r, now := m.r, m.r.hand.Now()
	if r.calm {
		m.until = time.Time{}
	}
	if now.Before(m.until) {
		return
	}
	if !r.calm {
		switch r.rng.IntN(200) {
		case 0, 1: // often longer than locks last, sometimes longer than the session
			m.until = now.Add(time.Duration(r.rng.Int64N(int64(14 * time.Second))))
			return
		case 2, 3:
			m.forget()
			return
		}
	}
	if !m.beats.busy && !now.Before(m.next) {
		m.beat()
		return
	}
	switch {
	case m.work.busy || len(m.parts) == 0:
	case len(m.held) > 0 && r.rng.IntN(2) == 0:
		m.acknowledge()
	default:
		m.fetch()
	}
}

func (m *sharer) beat() {
	r := m.r
	req := &wire.ShareGroupHeartbeatRequest{GroupID: shareGroupID, MemberID: m.id, MemberEpoch: m.epoch}
	if m.epoch == 0 {
		req.SubscribedTopicNames = []string{shareTopic}
	}
	resp := &wire.ShareGroupHeartbeatResponse{}
	m.beats.ask(req, 1, resp, func(err error) {
		if err != nil {
			r.violated("%s: a heartbeat is not answered: %w", m.name, err)
			return
		}
		m.next = r.hand.Now().Add(time.Duration(r.rng.Int64N(int64(2 * time.Second))))
		switch code := resp.ErrorCode; code {
		case wire.None:
			m.epoch = resp.MemberEpoch
			if resp.Assignment != nil {
				m.assigned(resp.Assignment)
			}
		case wire.UnknownMemberID, wire.FencedMemberEpoch, wire.GroupIDNotFound:
			r.result.Expelled++
			m.epoch, m.next = 0, time.Time{}
		case wire.CoordinatorLoadInProgress, wire.NotCoordinator, wire.CoordinatorNotAvailable, wire.RequestTimedOut, wire.KafkaStorageError, wire.UnknownServerError:
		default:
			r.violated("%s: a heartbeat is answered with %v", m.name, code)
		}
	})
}

func (m *sharer) assigned(a *wire.ShareGroupHeartbeatResponseAssignment) {
	m.parts = nil
	for _, t := range a.TopicPartitions {
		m.parts = append(m.parts, t.Partitions...)
	}
	m.held = slices.DeleteFunc(m.held, func(h heldRecords) bool { return !slices.Contains(m.parts, h.part) })
}

// lost is after a session that is no more: what was acquired in it is not the member's any more.
func (m *sharer) lost(code wire.Code) {
	if code == wire.ShareSessionNotFound || code == wire.InvalidShareSessionEpoch {
		m.pending = nil // nobody looked at them
	}
	m.doubt()
	m.r.result.Sessions++
	m.session, m.held = 0, nil
}

func (m *sharer) fetch() {
	r := m.r
	req := &wire.ShareFetchRequest{}
	req.SetDefaults()
	group, id := shareGroupID, m.id
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &group, &id, m.session
	req.MaxWaitMs, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = int32(r.rng.IntN(400)), 1, 1<<20, int32(1+r.rng.IntN(12)), int32(1+r.rng.IntN(4))
	topic := wire.ShareFetchRequestFetchTopic{TopicID: r.topic}
	for _, p := range m.parts {
		topic.Partitions = append(topic.Partitions, wire.ShareFetchRequestFetchPartition{PartitionIndex: p})
	}
	req.Topics = append(req.Topics, topic)
	var gone []int32
	for p := range int32(shareParts) {
		if m.session > 0 && !slices.Contains(m.parts, p) {
			gone = append(gone, p)
		}
	}
	if len(gone) > 0 {
		req.ForgottenTopicsData = []wire.ShareFetchRequestForgottenTopic{{TopicID: r.topic, Partitions: gone}}
	}
	resp, sent := &wire.ShareFetchResponse{}, r.hand.Now()
	m.work.ask(req, 2, resp, func(err error) {
		if err != nil {
			r.violated("%s: a fetch is not answered: %w", m.name, err)
			return
		}
		if resp.ErrorCode != wire.None {
			m.lost(resp.ErrorCode)
			return
		}
		m.session++
		for i := range resp.Responses {
			for k := range resp.Responses[i].Partitions {
				m.take(&resp.Responses[i].Partitions[k], sent)
			}
		}
	})
}

// take notes what was delivered, and demands that it may be.
func (m *sharer) take(p *wire.ShareFetchResponsePartitionData, sent time.Time) {
	r := m.r
	if len(p.AcquiredRecords) == 0 {
		return
	}
	there, err := offsetsIn(p.Records)
	if err != nil {
		r.violated("%s: what it fetched of partition %d: %w", m.name, p.PartitionIndex, err)
		return
	}
	for _, a := range p.AcquiredRecords {
		m.held = append(m.held, heldRecords{p.PartitionIndex, a.FirstOffset, a.LastOffset, sent})
		for offset := a.FirstOffset; offset <= a.LastOffset; offset++ {
			rec := r.at(p.PartitionIndex, offset)
			switch {
			case rec.ended:
				r.violated("%s gets record %d of partition %d, whose end was confirmed (delivery %d)", m.name, offset, p.PartitionIndex, a.DeliveryCount)
			case a.DeliveryCount < 1 || a.DeliveryCount > shareLimit:
				r.violated("%s gets record %d of partition %d with delivery count %d", m.name, offset, p.PartitionIndex, a.DeliveryCount)
			case !there[offset]:
				r.violated("%s acquires record %d of partition %d, which is not in the answer", m.name, offset, p.PartitionIndex)
			}
			rec.delivered++
			rec.count = max(rec.count, a.DeliveryCount)
			r.result.Delivered++
			if a.DeliveryCount > 1 {
				r.result.Again++
			}
			if a.DeliveryCount == shareLimit {
				r.result.Last++
			}
		}
	}
}

// offsetsIn are the offsets of the records in fetched bytes.
func offsetsIn(b []byte) (map[int64]bool, error) {
	at := map[int64]bool{}
	var scratch []byte
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if err != nil {
			return nil, fmt.Errorf("after %d records: %w", len(at), err)
		}
		if err := batch.CheckCRC(); err != nil {
			return nil, err
		}
		it, err := batch.Iterate(&scratch, 1<<20)
		if err != nil {
			return nil, err
		}
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			at[rec.Offset] = true
		}
		b = rest
	}
	return at, nil
}

// kind is how the member acknowledges.
func (m *sharer) kind() int8 {
	if m.r.calm {
		return ackAccept
	}
	switch m.r.rng.IntN(10) {
	case 0, 1, 2, 3:
		return ackRelease
	case 4:
		return ackReject
	case 5:
		return ackRenew
	}
	return ackAccept
}

func (m *sharer) acknowledge() {
	r := m.r
	h := m.held[0]
	m.held = m.held[1:]
	kind := m.kind()
	group, id := shareGroupID, m.id
	req := &wire.ShareAcknowledgeRequest{GroupID: &group, MemberID: &id, ShareSessionEpoch: m.session, IsRenewAck: kind == ackRenew}
	req.Topics = []wire.ShareAcknowledgeRequestAcknowledgeTopic{{TopicID: r.topic, Partitions: []wire.ShareAcknowledgeRequestAcknowledgePartition{{
		PartitionIndex:         h.part,
		AcknowledgementBatches: []wire.ShareAcknowledgeRequestAcknowledgementBatch{{FirstOffset: h.first, LastOffset: h.last, AcknowledgeTypes: []int8{kind}}},
	}}}}
	if kind == ackAccept || kind == ackReject {
		m.pending = append(m.pending, h)
	}
	resp, sent := &wire.ShareAcknowledgeResponse{}, r.hand.Now()
	m.work.ask(req, 2, resp, func(err error) {
		switch {
		case err != nil:
			r.violated("%s: an acknowledgement is not answered: %w", m.name, err)
		case resp.ErrorCode != wire.None:
			m.lost(resp.ErrorCode)
		default:
			m.session++
			m.acknowledged(h, kind, sent, resp.Responses[0].Partitions[0].ErrorCode)
		}
	})
}

// acknowledged is told what became of an acknowledgement.
func (m *sharer) acknowledged(h heldRecords, kind int8, sent time.Time, code wire.Code) {
	r := m.r
	count := int(h.last - h.first + 1)
	switch {
	case code == wire.InvalidRecordState || code == wire.InvalidRequest: // the lock has run out
		r.result.Refused++
		m.pending = nil
	case code != wire.None:
		m.doubt()
	case sent.Sub(h.since) >= shareLock:
		// Too late. Records that were given up meanwhile, which may not be written yet, are behind the start, where here as in
		// Kafka any acknowledgement is welcome.
		m.doubt()
	case kind == ackRelease:
		r.result.Released += count
	case kind == ackRenew:
		r.result.Renewed += count
		h.since = sent
		m.held = append(m.held, h)
	default:
		m.pending = nil
		for offset := h.first; offset <= h.last; offset++ {
			r.at(h.part, offset).ended = true
		}
		if kind == ackAccept {
			r.result.Accepted += count
		} else {
			r.result.Rejected += count
		}
	}
}
