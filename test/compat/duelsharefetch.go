package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produce writes a batch or two to a partition.
func (t *sharesGame) produce() error {
	topic := oneOf(t.game, t.topics...)
	return t.produceTo(topic, int32(t.rng.IntN(len(topic.ends))))
}

func (t *sharesGame) produceTo(topic *shareTopic, partition int32) error {
	return t.write(topic, partition, 1+t.rng.IntN(2), "", [2]int64{-1, -1}, [2]int16{-1, -1})
}

// write writes batches of a few records each.
func (t *sharesGame) write(topic *shareTopic, partition int32, batches int, txn string, producer [2]int64, epoch [2]int16) error {
	for range batches {
		count := 1 + t.rng.IntN(6)
		var list []duelRecord
		for i := range count {
			list = append(list, duelRecord{delta: int64(i), key: []byte("k"), value: fmt.Appendf(nil, "%s/%d", topic.name, topic.ends[partition]+int64(i))})
		}
		build := func(p *player) kmsg.Request {
			side := t.side(p)
			b := &duelBatch{magic: 2, lastDelta: int32(count - 1), first: shareTime, count: int32(count), producer: producer[side], epoch: epoch[side], sequence: -1}
			if txn != "" {
				b.attributes, b.sequence = batchTransactional, 0
			}
			b.pack(list)
			req := kmsg.NewPtrProduceRequest()
			req.Acks, req.TimeoutMillis = -1, 10_000
			if txn != "" {
				req.TransactionID = &txn
			}
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic, rt.TopicID = topic.name, p.id(topic.name)
			rp := kmsg.NewProduceRequestTopicPartition()
			rp.Partition, rp.Records = partition, b.bytes()
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		}
		answers, err := t.both(0, build)
		if err != nil {
			return err
		}
		for i, a := range answers {
			r := a.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			if r.ErrorCode != 0 || r.BaseOffset != topic.ends[partition] {
				return fmt.Errorf("%s refuses records for %s %d: %s", t.sides[i].name, topic.name, partition, t.sides[i].text(a))
			}
		}
		t.log = append(t.log, fmt.Sprintf("Produce %d records at %d to %s %d%s", count, topic.ends[partition], topic.name, partition, txn))
		topic.ends[partition] += int64(count)
		if txn != "" {
			break // one batch, so that sequences are easy
		}
	}
	return nil
}

// shareTime is when all records were made.
const shareTime = 1_700_000_000_000

func (g *game) side(p *player) int {
	if p == g.sides[0] {
		return 0
	}
	return 1
}

// transact writes some records in a transaction, and ends it one way or the other.
func (t *sharesGame) transact() error {
	topic := oneOf(t.game, t.topics...)
	partition := int32(t.rng.IntN(len(topic.ends)))
	txn := fmt.Sprintf("%s-txn", t.prefix)
	var producer [2]int64
	var epoch [2]int16
	for i, p := range t.sides {
		r, err := t.producer(p, txn)
		if err != nil {
			return err
		}
		producer[i], epoch[i] = r.ProducerID, r.ProducerEpoch
	}
	if err := t.write(topic, partition, 1, txn, producer, epoch); err != nil {
		return err
	}
	commit := t.percent(50)
	answers, err := t.both(0, func(p *player) kmsg.Request {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = txn, producer[t.side(p)], epoch[t.side(p)], commit
		return req
	})
	if err != nil {
		return err
	}
	for i, a := range answers {
		if a.(*kmsg.EndTxnResponse).ErrorCode != 0 {
			return fmt.Errorf("%s: %s", t.sides[i].name, t.sides[i].text(a))
		}
	}
	t.log = append(t.log, fmt.Sprintf("  the transaction ends, committed: %v", commit))
	topic.ends[partition]++
	return t.stable(topic, partition)
}

// producer begins a session of a transactional id on one side. The last transaction may take a moment to end.
func (t *sharesGame) producer(p *player, txn string) (r *kmsg.InitProducerIDResponse, err error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &txn, 60_000
	req.ProducerID, req.ProducerEpoch = -1, -1
	for range settleRounds {
		a, err := t.one(p, 0, req)
		if err != nil {
			return nil, err
		}
		if r = a.(*kmsg.InitProducerIDResponse); r.ErrorCode == 0 {
			return r, nil
		}
		<-time.After(settlePause)
	}
	return nil, fmt.Errorf("%s: %s", p.name, p.text(r))
}

// stable waits until the last stable offset has reached the end on both sides.
func (t *sharesGame) stable(topic *shareTopic, partition int32) error {
	for range settleRounds {
		answers, err := t.both(0, func(*player) kmsg.Request {
			req := kmsg.NewPtrListOffsetsRequest()
			req.ReplicaID, req.IsolationLevel = -1, 1
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = topic.name
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = partition, -1
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			return req
		})
		if err != nil {
			return err
		}
		there := 0
		for _, a := range answers {
			if a.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset == topic.ends[partition] {
				there++
			}
		}
		if there == 2 {
			return nil
		}
		<-time.After(settlePause)
	}
	return fmt.Errorf("the transaction on %s %d does not end at %d", topic.name, partition, topic.ends[partition])
}

// fetch is a member's next fetch, mostly with a good epoch.
func (t *sharesGame) fetch() error {
	m := oneOf(t.game, t.members...)
	f := shareFetchMove{m: m, epoch: m.session, minBytes: 1, maxBytes: 1 << 20, maxRecords: 500, batchSize: 500}
	if t.percent(60) {
		f.maxRecords, f.batchSize = int32(1+t.rng.IntN(12)), int32(1+t.rng.IntN(8))
	}
	f.mode = int8(t.rng.IntN(2))
	if t.percent(10) {
		f.maxBytes = int32(oneOf(t.game, 1, 100, 300))
	}
	key, ok := t.partition(m.group)
	if !ok {
		return t.join()
	}
	first := m.session == 0
	if first || t.percent(30) {
		f.topics = []shareKey{key}
	}
	switch n := t.rng.IntN(100); {
	case n < 4:
		f.epoch = oneOf(t.game, m.session+1, m.session+5, -2, 0)
	case n < 7:
		f.topics = append(f.topics, shareKey{t.topics[0], oneOf[int32](t.game, 7, -1)})
	case n < 12:
		// For batches of less than one record Kafka makes up ranges that end before they begin.
		f.maxRecords, f.maxBytes, f.batchSize = oneOf[int32](t.game, 0, -1, 1), oneOf[int32](t.game, 0, 1<<20), 1
	case n < 14:
		f.minBytes = oneOf[int32](t.game, 0, -1, 100)
	case n < 16:
		f.renew = true
	case n < 22 && !first:
		f.forget = []shareKey{key}
	case n < 24:
		if f.odd = oneOf(t.game, "group", "member", "long", "no group", "no member", "unknown"); f.epoch == 0 && f.odd == "unknown" {
			f.odd = "" // of two sessions of one connection Kafka forgets to end one with it
		}
	case n < 45 && !first:
		f.acks = t.acks(m)
		for i := range f.acks { // what is released is written while the fetch goes on, and may be there for it or not
			f.acks[i].types = slices.Clone(f.acks[i].types)
			for k, kind := range f.acks[i].types {
				if kind == 2 {
					f.acks[i].types[k] = 1
				}
			}
		}
		f.renew = t.percent(20)
		if f.renew {
			f.maxBytes, f.maxRecords = 0, 0
		}
	}
	return t.sendFetch(f)
}

// partition is one that has a state, if there is such.
func (t *sharesGame) partition(g *shareGroup) (shareKey, bool) {
	var all []shareKey
	for _, topic := range t.topics {
		for i := range topic.ends {
			if key := (shareKey{topic, int32(i)}); g.ready[key] {
				all = append(all, key)
			}
		}
	}
	if len(all) == 0 {
		return shareKey{t.topics[0], 0}, false
	}
	return oneOf(t.game, all...), true
}

// loaded is how a share partition shows itself to a first fetch.
type loaded int

const (
	notLoaded loaded = iota // not at all: Kafka loads behind its answers
	refused
	empty
	full // it had a record, which was given back
)

// warm has both load a share partition, so that what is fetched next does not depend on how long that takes.
func (t *sharesGame) warm(g *shareGroup, key shareKey) error {
	if g.warm[key] {
		return nil
	}
	g.warm[key] = true
	var now [2]loaded
	for range warmRounds {
		if err := t.warmOnce(g, &now, key); err != nil {
			return err
		}
		if now[0] == now[1] && now[0] != notLoaded {
			t.log = append(t.log, fmt.Sprintf("%s %d is loaded for %s: %v", key.topic.name, key.partition, g.id, now[0]))
			return nil
		}
		<-time.After(settlePause)
	}
	return fmt.Errorf("%s %d is not loaded alike for %s: %v", key.topic.name, key.partition, g.id, now)
}

// warmOnce has those sides load a share partition that have not yet given a record of it.
func (t *sharesGame) warmOnce(g *shareGroup, now *[2]loaded, key shareKey) error {
	was := *now
	for i, p := range t.sides { // both at once: an empty one takes as long as the fetch waits
		if was[i] == full {
			continue
		}
		// A new session each time: only its first answer names a share partition that has nothing.
		f := shareFetchMove{m: g.warmer, maxBytes: 1 << 20, maxRecords: 1, batchSize: 1, mode: 1, wait: warmWait, minBytes: 1, topics: []shareKey{key}}
		req := f.request(p)
		req.SetVersion(t.versions[req.Key()].high)
		p.conns[g.warmer.conn].send(req)
	}
	for i, p := range t.sides {
		if was[i] == full {
			continue
		}
		resp, err := p.conns[g.warmer.conn].receive(duelPatience)
		if err != nil {
			return fmt.Errorf("%s: warming %s: %w", p.name, key.topic.name, err)
		}
		if now[i], err = t.giveBack(g, i, key, resp.(*kmsg.ShareFetchResponse)); err != nil {
			return err
		}
	}
	return nil
}

// giveBack releases what a side gave of a share partition that it was to load.
func (t *sharesGame) giveBack(g *shareGroup, i int, key shareKey, r *kmsg.ShareFetchResponse) (loaded, error) {
	p := t.sides[i]
	if r.ErrorCode != 0 {
		return notLoaded, fmt.Errorf("%s: warming %s: %s", p.name, key.topic.name, p.text(r))
	}
	if len(r.Topics) == 0 {
		return notLoaded, nil
	}
	got := &r.Topics[0].Partitions[0]
	switch {
	case got.ErrorCode != 0:
		t.log = append(t.log, fmt.Sprintf("  %s does not load it: %s", p.name, p.text(r)))
		return refused, nil
	case len(got.AcquiredRecords) == 0:
		return empty, nil
	}
	first := got.AcquiredRecords[0].FirstOffset
	req := kmsg.NewPtrShareAcknowledgeRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &g.id, &g.warmer.id, 1
	back := shareFetchMove{acks: []shareAck{{key, first, first, []int8{2}}}}
	req.Topics = ackTopics(back.requestTopics(p))
	resp, err := t.one(p, g.warmer.conn, req)
	if err != nil {
		return notLoaded, err
	}
	if a := resp.(*kmsg.ShareAcknowledgeResponse); a.ErrorCode != 0 || a.Topics[0].Partitions[0].ErrorCode != 0 {
		t.log = append(t.log, fmt.Sprintf("  %s does not take record %d back: %s", p.name, first, p.text(a)))
		return notLoaded, nil // what was loaded was of no use any more, and is loaded again
	}
	return full, nil
}

// shareFetchMove is a fetch that is about to be sent.
type shareFetchMove struct {
	m                                               *shareMember
	epoch                                           int32
	maxBytes, maxRecords, batchSize, wait, minBytes int32
	mode                                            int8
	renew                                           bool
	topics, forget                                  []shareKey
	acks                                            []shareAck
	odd                                             string
}

// shareAck is what a member says about a range.
type shareAck struct {
	shareKey
	first, last int64
	types       []int8
}

func (t *sharesGame) sendFetch(f shareFetchMove) error {
	if len(f.keys()) > 1 && f.maxRecords > 1 && f.maxBytes > 1 {
		f.maxRecords, f.maxBytes = 500, 1<<20 // whom Kafka serves first, and most, depends on what it has read lately
	}
	if f.epoch != -1 {
		if err := t.warmAll(&f); err != nil {
			return err
		}
	}
	<-time.After(fetchPause)
	build := func(p *player) kmsg.Request { return f.request(p) }
	var ours kmsg.ShareFetchResponse
	return t.build(f.m.conn, build, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.ShareFetchResponse)
		t.tidyFetch(p, r)
		if p == t.sides[0] {
			t.learnFetch(f, r)
			ours = *r
		} else if r.ErrorCode == -1 && len(f.acks) > 0 {
			*r, t.over = ours, true
			for i := range r.Topics {
				r.Topics[i].TopicID = t.theirs(r.Topics[i].TopicID)
			}
		}
	})
}

// theirs is Kafka's id of the topic that has an id in Moldau.
func (t *sharesGame) theirs(id [16]byte) [16]byte {
	for _, topic := range t.topics {
		if t.sides[0].id(topic.name) == id {
			return t.sides[1].id(topic.name)
		}
	}
	return id
}

func (f *shareFetchMove) request(p *player) *kmsg.ShareFetchRequest {
	req := kmsg.NewPtrShareFetchRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &f.m.group.id, &f.m.id, f.epoch
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = f.wait, f.minBytes, f.maxBytes, f.maxRecords, f.batchSize
	req.ShareAcquireMode, req.IsRenewAck = f.mode, f.renew
	if f.renew && f.maxBytes == 0 {
		req.MinBytes = 0
	}
	req.GroupID, req.MemberID = oddNames(f.odd, req.GroupID, req.MemberID)
	req.Topics = f.requestTopics(p)
	for _, k := range f.forget {
		r := kmsg.NewShareFetchRequestForgottenTopicsData()
		r.TopicID, r.Partitions = p.id(k.topic.name), []int32{k.partition}
		req.ForgottenTopicsData = append(req.ForgottenTopicsData, r)
	}
	return req
}

// keys are the partitions that are in the session with this fetch, those to be forgotten included.
func (f *shareFetchMove) keys() []shareKey {
	keys := slices.Clone(f.m.parts)
	if f.epoch == 0 {
		keys = nil
	}
	for _, k := range f.topics {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for _, a := range f.acks {
		if !slices.Contains(keys, a.shareKey) {
			keys = append(keys, a.shareKey)
		}
	}
	return keys
}

// warmAll has both load what a fetch asks for, and forgets what has no state: Kafka would try to load it behind each fetch.
func (t *sharesGame) warmAll(f *shareFetchMove) error {
	keys := f.keys()
	for _, k := range keys {
		if int(k.partition) >= len(k.topic.ends) || k.partition < 0 {
			continue
		}
		if !f.m.group.ready[k] {
			f.forget = append(f.forget, k)
		} else if err := t.warm(f.m.group, k); err != nil {
			return err
		}
	}
	return nil
}

func oddNames(odd string, group, member *string) (*string, *string) {
	empty, long, other := "", "a-name-that-is-longer-than-a-uuid-may-be-in-hex", "somebody-else"
	switch odd {
	case "group":
		return &empty, member
	case "member":
		return group, &empty
	case "long":
		return group, &long
	case "no group":
		return nil, member
	case "no member":
		return group, nil
	case "unknown":
		return group, &other
	}
	return group, member
}

// requestTopics are the partitions to fetch and those with acknowledgements.
func (f *shareFetchMove) requestTopics(p *player) []kmsg.ShareFetchRequestTopic {
	var topics []kmsg.ShareFetchRequestTopic
	at := func(k shareKey) *kmsg.ShareFetchRequestTopicPartition {
		i := slices.IndexFunc(topics, func(r kmsg.ShareFetchRequestTopic) bool { return r.TopicID == p.id(k.topic.name) })
		if i < 0 {
			i = len(topics)
			topics = append(topics, kmsg.NewShareFetchRequestTopic())
			topics[i].TopicID = p.id(k.topic.name)
		}
		parts := &topics[i].Partitions
		k2 := slices.IndexFunc(*parts, func(r kmsg.ShareFetchRequestTopicPartition) bool { return r.Partition == k.partition })
		if k2 < 0 {
			k2 = len(*parts)
			*parts = append(*parts, kmsg.NewShareFetchRequestTopicPartition())
			(*parts)[k2].Partition = k.partition
		}
		return &(*parts)[k2]
	}
	for _, k := range f.topics {
		at(k)
	}
	for _, a := range f.acks {
		b := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
		b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = a.first, a.last, a.types
		r := at(a.shareKey)
		r.AcknowledgementBatches = append(r.AcknowledgementBatches, b)
	}
	return topics
}

// tidyFetch sorts an answer and takes out what a broker made up: producers' ids and the times of markers.
func (t *sharesGame) tidyFetch(p *player, r *kmsg.ShareFetchResponse) {
	slices.SortFunc(r.Topics, func(a, b kmsg.ShareFetchResponseTopic) int {
		return cmp.Compare(p.topicNamed(a.TopicID), p.topicNamed(b.TopicID))
	})
	for i := range r.Topics {
		parts := r.Topics[i].Partitions
		slices.SortFunc(parts, func(a, b kmsg.ShareFetchResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		for k := range parts {
			parts[k].Records = plainBatches(parts[k].Records)
		}
	}
}

// plainBatches blanks producers' ids, the times of markers and what follows from them.
func plainBatches(all []byte) []byte {
	for p := all; ; {
		if len(p) < batchRecordsAt || 12+int(binary.BigEndian.Uint32(p[batchLengthAt:])) > len(p) {
			return all[:len(all)-len(p)] // Kafka cuts where the bytes end, and a member reads whole batches only
		}
		n := 12 + int(binary.BigEndian.Uint32(p[batchLengthAt:]))
		clear(p[batchCRCAt : batchCRCAt+4])
		if binary.BigEndian.Uint16(p[batchSummedAt:])&batchTransactional != 0 {
			clear(p[43:53])
		}
		if binary.BigEndian.Uint16(p[batchSummedAt:])&batchControl != 0 {
			clear(p[27:43])
		}
		p = p[n:]
	}
}

// learnFetch notes what a fetch gave to its member.
func (t *sharesGame) learnFetch(f shareFetchMove, r *kmsg.ShareFetchResponse) {
	m := f.m
	if f.odd != "" || r.ErrorCode != 0 {
		return
	}
	switch f.epoch {
	case -1:
		m.session, m.has, m.parts = 0, nil, nil
		return
	case 0:
		m.session, m.parts = 1, nil
	default:
		m.session = f.epoch + 1
	}
	m.parts = append(m.parts, f.topics...)
	for _, a := range f.acks {
		m.parts = append(m.parts, a.shareKey)
	}
	m.parts = slices.DeleteFunc(m.parts, func(k shareKey) bool { return slices.Contains(f.forget, k) })
	for _, rt := range r.Topics {
		for _, topic := range t.topics {
			if t.sides[0].id(topic.name) != rt.TopicID {
				continue
			}
			for _, rp := range rt.Partitions {
				for _, a := range rp.AcquiredRecords {
					m.has = append(m.has, held{shareKey{topic, rp.Partition}, a.FirstOffset, a.LastOffset})
				}
			}
		}
	}
	if len(m.has) > 40 {
		m.has = m.has[len(m.has)-40:]
	}
}

// acks are what a member says about one or two of the ranges that it has, or does not have.
func (t *sharesGame) acks(m *shareMember) []shareAck {
	var acks []shareAck
	for range 1 + t.rng.IntN(2) {
		acks = append(acks, t.ackOf(m)...)
	}
	if t.percent(85) {
		slices.SortStableFunc(acks, func(a, b shareAck) int {
			return cmp.Or(cmp.Compare(a.topic.name, b.topic.name), cmp.Compare(a.partition, b.partition), cmp.Compare(a.first, b.first))
		})
	}
	return acks
}

func (t *sharesGame) ackOf(m *shareMember) []shareAck {
	if len(m.has) == 0 || t.percent(10) {
		key, _ := t.partition(m.group)
		first := int64(t.rng.IntN(20)) - 1
		a := shareAck{key, first, first + int64(t.rng.IntN(5)) - 1, []int8{t.ackType()}}
		other := oneOf(t.game, t.members...)
		if len(other.has) > 0 && t.percent(60) {
			h := oneOf(t.game, other.has...)
			a.shareKey, a.first, a.last = h.shareKey, h.first, h.last
		}
		return []shareAck{a}
	}
	i := t.rng.IntN(len(m.has))
	h := m.has[i]
	if t.percent(80) {
		m.has = slices.Delete(m.has, i, i+1)
	}
	n := h.last - h.first + 1
	a := shareAck{h.shareKey, h.first, h.last, []int8{t.ackType()}}
	switch k := t.rng.IntN(100); {
	case k < 40:
	case k < 55: // a type for each
		a.types = nil
		for range n {
			a.types = append(a.types, t.ackType())
		}
	case k < 65: // in two
		if n == 1 {
			break
		}
		b := a
		a.last = h.first + int64(t.rng.IntN(int(n-1)))
		b.first, b.types = a.last+1, []int8{t.ackType()}
		return []shareAck{a, b}
	case k < 75: // a part
		a.first += int64(t.rng.IntN(int(n)))
		m.has = append(m.has, h)
	case k < 80:
		a.last += int64(1 + t.rng.IntN(2))
	case k < 85:
		a.types = oneOf(t.game, []int8{1, 1}, []int8{}, []int8{0}, []int8{0, 1}, []int8{4, 1}, []int8{5}, []int8{-1}, []int8{3, 4})
	case k < 88:
		a.first, a.last = a.last, a.first-1
	case k < 92:
		return []shareAck{a, a}
	}
	return []shareAck{a}
}

// ackTopics are the acknowledgements of a fetch for a request of their own.
func ackTopics(of []kmsg.ShareFetchRequestTopic) (topics []kmsg.ShareAcknowledgeRequestTopic) {
	for _, ft := range of {
		rt := kmsg.NewShareAcknowledgeRequestTopic()
		rt.TopicID = ft.TopicID
		for _, fp := range ft.Partitions {
			rp := kmsg.NewShareAcknowledgeRequestTopicPartition()
			rp.Partition = fp.Partition
			for _, b := range fp.AcknowledgementBatches {
				rp.AcknowledgementBatches = append(rp.AcknowledgementBatches, kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(b))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		topics = append(topics, rt)
	}
	return topics
}

func (t *sharesGame) ackType() int8 { return oneOf[int8](t.game, 1, 1, 1, 2, 2, 2, 3, 3, 0, 4) }

// acknowledge says what became of records.
func (t *sharesGame) acknowledge() error {
	m := oneOf(t.game, t.members...)
	if m.session == 0 && t.percent(90) {
		return t.fetch()
	}
	epoch, odd := m.session, ""
	switch n := t.rng.IntN(100); {
	case n < 4:
		epoch = oneOf(t.game, m.session+1, m.session+3, -2, 0)
	case n < 6:
		odd = oneOf(t.game, "group", "member", "long", "no group", "no member", "unknown")
	}
	return t.sendAcks(m, epoch, odd, t.acks(m))
}

func (t *sharesGame) sendAcks(m *shareMember, epoch int32, odd string, acks []shareAck) error {
	f := shareFetchMove{acks: acks}
	renew := t.percent(20)
	var ours kmsg.ShareAcknowledgeResponse
	build := func(p *player) kmsg.Request {
		req := kmsg.NewPtrShareAcknowledgeRequest()
		req.GroupID, req.MemberID, req.ShareSessionEpoch, req.IsRenewAck = &m.group.id, &m.id, epoch, renew
		req.GroupID, req.MemberID = oddNames(odd, req.GroupID, req.MemberID)
		req.Topics = ackTopics(f.requestTopics(p))
		return req
	}
	return t.build(m.conn, build, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.ShareAcknowledgeResponse)
		slices.SortFunc(r.Topics, func(a, b kmsg.ShareAcknowledgeResponseTopic) int {
			return cmp.Compare(p.topicNamed(a.TopicID), p.topicNamed(b.TopicID))
		})
		for i := range r.Topics {
			slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.ShareAcknowledgeResponseTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
		}
		if p == t.sides[0] {
			ours = *r
		} else if r.ErrorCode == -1 {
			*r, t.over = ours, true
			for i := range r.Topics {
				r.Topics[i].TopicID = t.theirs(r.Topics[i].TopicID)
			}
		}
		if p != t.sides[0] || r.ErrorCode != 0 || odd != "" {
			return
		}
		if m.session = epoch + 1; epoch == -1 {
			m.session, m.has, m.parts = 0, nil, nil
		}
	})
}

// close ends a share session, with acknowledgements or without. Kafka gives records back behind its answer.
func (t *sharesGame) close() error {
	defer func() { <-time.After(closePause) }()
	m := oneOf(t.game, t.members...)
	if m.session == 0 && t.percent(80) {
		return t.fetch()
	}
	var acks []shareAck
	if t.percent(40) {
		acks = t.acks(m)
	}
	if t.percent(50) {
		return t.sendAcks(m, -1, "", acks)
	}
	return t.sendFetch(shareFetchMove{m: m, epoch: -1, acks: acks, maxBytes: oneOf[int32](t.game, 0, 1000), maxRecords: oneOf[int32](t.game, 0, 10)})
}
