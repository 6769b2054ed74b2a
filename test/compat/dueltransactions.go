package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactionsDuel begins, ends, abandons and repeats transactions, with two clients for many an id.
var transactionsDuel = discipline{name: "transactions", settings: dataSettings, prepare: prepareTransactions, play: playTransactions}

// txnGame is what a game about transactions knows.
type txnGame struct {
	*dataGame
	ids     []string
	clients []*txnClient
	groups  []string
}

// txnClient is a producer with a transactional id, perhaps one that another has followed.
type txnClient struct {
	id     string
	number int64 // of its producer id in the game
	epoch  int16
	bumps  bool // each of its transactions has an epoch
	open   bool
	parts  []string // that take part
	next   map[string]int32
	ends   []*kmsg.EndTxnRequest // the last ones
}

// Keys of requests whose versions tell a client's protocol.
const (
	produceKey         = 0
	initProducerKey    = 22
	endTxnKey          = 26
	txnOffsetCommitKey = 28
)

const txnMoves = 60

// prepareTransactions waits until both coordinators serve.
func prepareTransactions(ctx context.Context, addr string) error {
	c, err := dialDuel(addr)
	if err != nil {
		return err
	}
	defer c.close()
	for kind, name := range []string{"g", "t"} {
		for end := time.Now().Add(readyLimit); ; {
			if ctx.Err() != nil || time.Now().After(end) {
				return fmt.Errorf("the coordinator of %s is not there", name)
			}
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.SetVersion(3)
			req.CoordinatorKey, req.CoordinatorType = name, int8(kind)
			c.send(req)
			resp, err := c.receive(duelPatience)
			if err != nil {
				return err
			}
			if resp.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 {
				break
			}
			<-time.After(latePause)
		}
	}
	return nil
}

func playTransactions(g *game) error {
	d, err := newDataGame(g, 2)
	if err != nil {
		return err
	}
	t := &txnGame{dataGame: d, groups: []string{g.prefix + "-g0", g.prefix + "-g1"}}
	for i := range 3 {
		t.ids = append(t.ids, fmt.Sprintf("%s-t%d", g.prefix, i))
	}
	if err := t.coordinated(); err != nil {
		return err
	}
	moves := []func() error{
		t.init, t.init, t.initAgain, t.addPartitions, t.addPartitions, t.addPartitions, t.addOffsets, t.addOffsets, t.commitOffsets, t.commitOffsets, t.commitOffsets,
		t.write, t.write, t.write, t.write, t.write, t.end, t.end, t.end, t.end, t.endAgain, t.describe, t.list, t.describeProducers,
		t.fetch, t.fetch, t.listOffsets, t.fetchOffsets, t.fetchOffsets, t.mark, t.addBatch,
	}
	if err := t.init(); err != nil {
		return err
	}
	for range txnMoves {
		if err := moves[g.rng.IntN(len(moves))](); err != nil {
			return err
		}
	}
	return t.readAll()
}

// coordinated waits until both brokers coordinate what the game has.
func (t *txnGame) coordinated() error {
	for _, c := range []struct {
		kind int8
		keys []string
	}{{0, t.groups}, {1, t.ids}} {
		for _, key := range c.keys {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKey, req.CoordinatorKeys, req.CoordinatorType = key, []string{key}, c.kind
			if _, err := t.need(question{late: true, build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
				r := resp.(*kmsg.FindCoordinatorResponse)
				r.Host, r.Port = "", 0
				for i := range r.Coordinators {
					r.Coordinators[i].Host, r.Coordinators[i].Port = "", 0
				}
			}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// concurrent tells of a code that another will follow soon.
func concurrent(code int16) bool {
	err := kerr.ErrorForCode(code)
	return err == kerr.ConcurrentTransactions || err == kerr.CoordinatorLoadInProgress || err == kerr.NotCoordinator || err == kerr.CoordinatorNotAvailable
}

// client is mostly the newest of an id, now and then one that has been followed.
func (t *txnGame) client() *txnClient {
	if len(t.clients) == 0 {
		return &txnClient{id: t.ids[0], number: 5_000_123, next: map[string]int32{}}
	}
	c := t.clients[t.rng.IntN(len(t.clients))]
	if t.some(8) {
		return c
	}
	for _, o := range t.clients {
		if o.id == c.id {
			c = o // the last one
		}
	}
	return c
}

// who is what a request says of its producer: mostly the client, otherwise wrong in one way.
type who struct {
	id     string
	number int64
	epoch  int16
}

func (t *txnGame) who(c *txnClient) who {
	w := who{c.id, c.number, c.epoch}
	switch t.rng.IntN(24) {
	case 0:
		w.epoch++
	case 1:
		w.epoch--
	case 2:
		w.number = 5_000_999
	case 3:
		w.id = t.ids[t.rng.IntN(len(t.ids))]
	case 4:
		w.id = []string{"", "nobody"}[t.rng.IntN(2)]
	case 5:
		w.epoch = []int16{-1, 32767, -5}[t.rng.IntN(3)]
	}
	return w
}

// speak limits versions to those of the client's protocol, most of the time.
func (t *txnGame) speak(c *txnClient) {
	full := t.dataGame.full
	for key, since := range map[int16]int16{produceKey: 12, endTxnKey: 5, txnOffsetCommitKey: 5} {
		r := full[key]
		if c.bumps {
			r.low = since
		} else {
			r.high = since - 1
		}
		t.versions[key] = r
	}
	if t.some(20) {
		for _, key := range []int16{produceKey, endTxnKey, txnOffsetCommitKey} {
			t.versions[key] = full[key]
		}
	}
	t.versions[initProducerKey] = full[initProducerKey]
}

// init takes a transactional id, or gets a producer id without one.
func (t *txnGame) init() error {
	id := &t.ids[t.rng.IntN(len(t.ids))]
	c := &txnClient{bumps: t.some(2), next: map[string]int32{}}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = id, 600_000, -1, -1
	switch t.rng.IntN(16) {
	case 0:
		req.TransactionTimeoutMillis = []int32{0, -1, 10_000_000}[t.rng.IntN(3)]
	case 1:
		req.TransactionalID = kmsg.StringPtr("")
	case 2:
		req.TransactionalID = nil
	case 3:
		req.ProducerEpoch = 3
	case 4:
		req.ProducerID = 5_000_999
	}
	t.speak(c)
	resp, err := t.askInit(req, req.ProducerID)
	if err != nil {
		return err
	}
	if resp.ErrorCode == 0 && req.TransactionalID != nil {
		c.id, c.number, c.epoch = *id, resp.ProducerID, resp.ProducerEpoch
		t.clients = append(t.clients, c)
	}
	return t.settled(*id)
}

// initAgain raises the epoch of a client.
func (t *txnGame) initAgain() error {
	c := t.client()
	w := t.who(c)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerEpoch = &w.id, 600_000, w.epoch
	t.speak(c)
	t.versions[initProducerKey] = versionRange{3, t.full[initProducerKey].high}
	resp, err := t.askInit(req, w.number)
	if err != nil {
		return err
	}
	if resp.ErrorCode == 0 {
		c.number, c.epoch, c.open, c.parts, c.next = resp.ProducerID, resp.ProducerEpoch, false, nil, map[string]int32{}
	}
	return t.settled(w.id)
}

func (t *txnGame) askInit(req *kmsg.InitProducerIDRequest, number int64) (*kmsg.InitProducerIDResponse, error) {
	answers, err := t.need(question{
		build: func(p *player) kmsg.Request {
			req.ProducerID = t.real(p, number)
			return req
		},
		again: func(resp kmsg.Response) bool { return concurrent(resp.(*kmsg.InitProducerIDResponse).ErrorCode) },
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.InitProducerIDResponse)
			r.ProducerID = t.number(p, r.ProducerID)
		},
	})
	resp, _ := answers[0].(*kmsg.InitProducerIDResponse)
	return resp, err
}

// settled waits until the transactions of an id are ended that are about to be.
func (t *txnGame) settled(id string) error {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	return t.askDescribe(req)
}

func (t *txnGame) askDescribe(req *kmsg.DescribeTransactionsRequest) error {
	_, err := t.need(question{
		build: func(*player) kmsg.Request { return req },
		again: func(resp kmsg.Response) bool {
			return slices.ContainsFunc(resp.(*kmsg.DescribeTransactionsResponse).TransactionStates, func(s kmsg.DescribeTransactionsResponseTransactionState) bool {
				return strings.HasPrefix(s.State, "Prepare") || concurrent(s.ErrorCode)
			})
		},
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.DescribeTransactionsResponse)
			for i := range r.TransactionStates {
				s := &r.TransactionStates[i]
				s.ProducerID = t.number(p, s.ProducerID)
				s.StartTimestamp = min(s.StartTimestamp, 1)
				slices.SortFunc(s.Topics, func(a, b kmsg.DescribeTransactionsResponseTransactionStateTopic) int {
					return cmp.Compare(a.Topic, b.Topic)
				})
				for j := range s.Topics {
					slices.Sort(s.Topics[j].Partitions)
				}
			}
			slices.SortStableFunc(r.TransactionStates, func(a, b kmsg.DescribeTransactionsResponseTransactionState) int {
				return cmp.Compare(a.TransactionalID, b.TransactionalID)
			})
		},
	})
	return err
}

func (t *txnGame) describe() error {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	for range 1 + t.rng.IntN(3) {
		id := t.ids[t.rng.IntN(len(t.ids))]
		if t.some(10) {
			id = []string{"", "nobody"}[t.rng.IntN(2)]
		}
		if !slices.Contains(req.TransactionalIDs, id) {
			req.TransactionalIDs = append(req.TransactionalIDs, id)
		}
	}
	return t.askDescribe(req)
}

// list lists the game's transactional ids.
func (t *txnGame) list() error {
	req := kmsg.NewPtrListTransactionsRequest()
	req.DurationFilterMillis = -1
	for range max(0, t.rng.IntN(5)-2) {
		req.StateFilters = append(req.StateFilters, []string{"Ongoing", "Empty", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence", "ongoing", "", "none"}[t.rng.IntN(9)])
	}
	if t.some(6) { // see txn.Filter
		req.StateFilters, req.DurationFilterMillis = []string{"Ongoing"}, []int64{1 << 20, math.MaxInt64}[t.rng.IntN(2)]
	}
	if t.some(3) {
		req.TransactionalIDPattern = kmsg.StringPtr([]string{"", t.ids[0], t.prefix + "-t[01]", ".*", "(", t.prefix}[t.rng.IntN(6)])
	}
	var numbers []int64
	for range max(0, t.rng.IntN(4)-2) {
		numbers = append(numbers, t.client().number)
	}
	_, err := t.need(question{
		build: func(p *player) kmsg.Request {
			req.ProducerIDFilters = nil
			for _, n := range numbers {
				req.ProducerIDFilters = append(req.ProducerIDFilters, t.real(p, n))
			}
			return req
		},
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.ListTransactionsResponse)
			r.TransactionStates = slices.DeleteFunc(r.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool {
				return !slices.Contains(t.ids, s.TransactionalID)
			})
			slices.SortFunc(r.TransactionStates, func(a, b kmsg.ListTransactionsResponseTransactionState) int {
				return cmp.Compare(a.TransactionalID, b.TransactionalID)
			})
			if len(r.TransactionStates) == 0 {
				r.TransactionStates = nil
			}
			for i := range r.TransactionStates {
				r.TransactionStates[i].ProducerID = t.number(p, r.TransactionStates[i].ProducerID)
			}
			slices.Sort(r.UnknownStateFilters)
		},
	})
	return err
}

// someParts are partitions, with their names.
func (t *txnGame) someParts() (names []string, partitions []int32) {
	for range 1 + t.rng.IntN(3) {
		_, name, partition := t.place()
		if !slices.Contains(names, name) || !slices.Contains(partitions, partition) {
			names, partitions = append(names, name), append(partitions, partition)
		}
	}
	return names, partitions
}

// addPartitions has partitions take part in a transaction.
func (t *txnGame) addPartitions() error {
	c := t.client()
	w := t.who(c)
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerEpoch = w.id, w.epoch
	names, partitions := t.someParts()
	for i, name := range names {
		at := slices.IndexFunc(req.Topics, func(o kmsg.AddPartitionsToTxnRequestTopic) bool { return o.Topic == name })
		if at < 0 {
			at = len(req.Topics)
			req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name})
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, partitions[i])
	}
	const key, last = 24, 3 // the newest version for clients
	t.versions[key] = versionRange{0, last}
	answers, err := t.need(question{
		build: func(p *player) kmsg.Request { req.ProducerID = t.real(p, w.number); return req },
		again: func(resp kmsg.Response) bool {
			for _, topic := range resp.(*kmsg.AddPartitionsToTxnResponse).Topics {
				for _, p := range topic.Partitions {
					if concurrent(p.ErrorCode) {
						return true
					}
				}
			}
			return false
		},
		learn: func(_ *player, resp kmsg.Response) {
			r := resp.(*kmsg.AddPartitionsToTxnResponse)
			r.Topics = merged(r.Topics, func(o *kmsg.AddPartitionsToTxnResponseTopic) (string, *[]kmsg.AddPartitionsToTxnResponseTopicPartition) {
				return o.Topic, &o.Partitions
			})
		},
	})
	if err != nil {
		return err
	}
	for _, topic := range answers[0].(*kmsg.AddPartitionsToTxnResponse).Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode == 0 {
				c.open = true
				c.parts = append(c.parts, partitionKey(topic.Topic, p.Partition))
			}
		}
	}
	return nil
}

// addBatch adds or verifies partitions of several transactions, as brokers do.
func (t *txnGame) addBatch() error {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	var all []who
	for range 1 + t.rng.IntN(2) {
		c := t.client()
		w := t.who(c)
		if slices.ContainsFunc(all, func(o who) bool { return o.id == w.id }) {
			continue
		}
		all = append(all, w)
		tx := kmsg.NewAddPartitionsToTxnRequestTransaction()
		tx.TransactionalID, tx.ProducerEpoch, tx.VerifyOnly = w.id, w.epoch, !t.some(4)
		names, partitions := t.someParts()
		for i, name := range names {
			at := slices.IndexFunc(tx.Topics, func(o kmsg.AddPartitionsToTxnRequestTransactionTopic) bool { return o.Topic == name })
			if at < 0 {
				at = len(tx.Topics)
				tx.Topics = append(tx.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: name})
			}
			tx.Topics[at].Partitions = append(tx.Topics[at].Partitions, partitions[i])
		}
		req.Transactions = append(req.Transactions, tx)
	}
	const key, first = 24, 4
	t.versions[key] = versionRange{first, t.full[key].high}
	_, err := t.need(question{
		build: func(p *player) kmsg.Request {
			for i := range req.Transactions {
				req.Transactions[i].ProducerID = t.real(p, all[i].number)
			}
			return req
		},
		again: func(resp kmsg.Response) bool {
			for _, tx := range resp.(*kmsg.AddPartitionsToTxnResponse).Transactions {
				for _, topic := range tx.Topics {
					for _, p := range topic.Partitions {
						if concurrent(p.ErrorCode) {
							return true
						}
					}
				}
			}
			return false
		},
		learn: func(_ *player, resp kmsg.Response) {
			r := resp.(*kmsg.AddPartitionsToTxnResponse)
			slices.SortFunc(r.Transactions, func(a, b kmsg.AddPartitionsToTxnResponseTransaction) int {
				return cmp.Compare(a.TransactionalID, b.TransactionalID)
			})
			for i := range r.Transactions {
				r.Transactions[i].Topics = merged(r.Transactions[i].Topics, func(o *kmsg.AddPartitionsToTxnResponseTransactionTopic) (string, *[]kmsg.AddPartitionsToTxnResponseTransactionTopicPartition) {
					return o.Topic, &o.Partitions
				})
			}
		},
	})
	return err
}

func (t *txnGame) group() string {
	if t.some(15) {
		return ""
	}
	return t.groups[t.rng.IntN(len(t.groups))]
}

// addOffsets has a group's offsets take part in a transaction.
func (t *txnGame) addOffsets() error {
	c := t.client()
	w := t.who(c)
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerEpoch, req.Group = w.id, w.epoch, t.group()
	answers, err := t.need(question{
		build: func(p *player) kmsg.Request { req.ProducerID = t.real(p, w.number); return req },
		again: func(resp kmsg.Response) bool { return concurrent(resp.(*kmsg.AddOffsetsToTxnResponse).ErrorCode) },
	})
	if err == nil && answers[0].(*kmsg.AddOffsetsToTxnResponse).ErrorCode == 0 {
		c.open = true
		c.parts = append(c.parts, req.Group)
	}
	return err
}

// commitOffsets commits offsets within a transaction.
func (t *txnGame) commitOffsets() error {
	c := t.client()
	w := t.who(c)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerEpoch, req.Group = w.id, w.epoch, t.group()
	req.Generation = -1
	switch t.rng.IntN(15) {
	case 0: // not with a generation: of a group without committed offsets Kafka remembers for a while that it was there
		req.MemberID = "nobody"
	case 1:
		req.InstanceID = kmsg.StringPtr("i")
	}
	names, partitions := t.someParts()
	for i, name := range names {
		if name == "__consumer_offsets" {
			continue // its id has no name in the game
		}
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = partitions[i], t.rng.Int64N(100), t.leaderEpoch()
		if !t.some(3) {
			p.Metadata = kmsg.StringPtr([]string{"", "m", strings.Repeat("m", 5000)}[t.rng.IntN(3)])
		}
		topic := kmsg.NewTxnOffsetCommitRequestTopic()
		topic.Topic, topic.Partitions = name, []kmsg.TxnOffsetCommitRequestTopicPartition{p}
		req.Topics = append(req.Topics, topic)
	}
	t.speak(c)
	answers, err := t.need(question{
		build: func(p *player) kmsg.Request {
			req.ProducerID = t.real(p, w.number)
			for i := range req.Topics {
				req.Topics[i].TopicID = t.id(p, req.Topics[i].Topic)
			}
			return req
		},
		again: func(resp kmsg.Response) bool {
			for _, topic := range resp.(*kmsg.TxnOffsetCommitResponse).Topics {
				for _, p := range topic.Partitions {
					if concurrent(p.ErrorCode) {
						return true
					}
				}
			}
			return false
		},
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.TxnOffsetCommitResponse)
			r.Topics = merged(r.Topics, func(o *kmsg.TxnOffsetCommitResponseTopic) (string, *[]kmsg.TxnOffsetCommitResponseTopicPartition) {
				return o.Topic + t.nameOf(p, o.TopicID), &o.Partitions
			})
		},
	})
	if err == nil && c.bumps {
		for _, topic := range answers[0].(*kmsg.TxnOffsetCommitResponse).Topics {
			for _, p := range topic.Partitions {
				c.open = c.open || p.ErrorCode == 0
			}
		}
	}
	return err
}

// fetchOffsets asks for what groups have committed.
func (t *txnGame) fetchOffsets() error {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = t.some(2)
	names, partitions := t.someParts()
	req.Group = t.groups[t.rng.IntN(len(t.groups))]
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch = req.Group, -1
	for i, name := range names {
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: name, Partitions: []int32{partitions[i]}})
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = name, []int32{partitions[i]}
		g.Topics = append(g.Topics, gt)
	}
	if t.some(3) {
		req.Topics, g.Topics = nil, nil
	}
	req.Groups = append(req.Groups, g)
	const key = 9
	if r := t.full[key]; req.Topics == nil {
		t.versions[key] = versionRange{2, r.high} // all topics
	} else {
		t.versions[key] = r
	}
	_, err := t.need(question{
		late: true,
		build: func(p *player) kmsg.Request {
			for i := range req.Groups[0].Topics {
				o := &req.Groups[0].Topics[i]
				o.TopicID = t.id(p, o.Topic)
			}
			return req
		},
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.OffsetFetchResponse)
			r.Topics = merged(r.Topics, func(o *kmsg.OffsetFetchResponseTopic) (string, *[]kmsg.OffsetFetchResponseTopicPartition) {
				return o.Topic, &o.Partitions
			})
			for i := range r.Groups {
				r.Groups[i].Topics = merged(r.Groups[i].Topics, func(o *kmsg.OffsetFetchResponseGroupTopic) (string, *[]kmsg.OffsetFetchResponseGroupTopicPartition) {
					return o.Topic + t.nameOf(p, o.TopicID), &o.Partitions
				})
			}
		},
	})
	return err
}

// write produces within a transaction.
func (t *txnGame) write() error {
	c := t.client()
	w := t.who(c)
	d, name, partition := t.place()
	key := partitionKey(name, partition)
	if d != nil && !c.bumps && len(c.parts) > 0 && !t.some(6) {
		if at := slices.IndexFunc(c.parts, func(s string) bool { return strings.Contains(s, "/") }); at >= 0 {
			key = c.parts[at]
			name, partition = splitKey(key)
		}
	}
	if name == "__consumer_offsets" {
		name = t.ids[0] // it is refused by both, by Moldau without asking whether it takes part
	}
	count := []int{1, 1, 2, 3}[t.rng.IntN(4)]
	b, _ := batchOf(t.rng, t.now, count)
	t.now += 1000
	b.epoch, b.sequence = max(0, w.epoch), c.next[key]
	b.attributes |= batchTransactional
	switch t.rng.IntN(16) {
	case 0:
		b.sequence++
	case 1:
		b.sequence = max(0, b.sequence-1)
	case 2: // not with a later epoch, which is not verified: Kafka's marker would wait for ever
		b.attributes &^= batchTransactional
		b.epoch = min(b.epoch, c.epoch)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.TransactionID = -1, 5000, &w.id
	if t.some(20) {
		req.TransactionID = nil
	}
	addProduce(req, name, partition, nil)
	t.speak(c)
	q := t.produceQuestion(req)
	inner := q.build
	q.build = func(p *player) kmsg.Request {
		b.producer = t.real(p, w.number)
		req.Topics[0].Partitions[0].Records = b.bytes()
		return inner(p)
	}
	q.again = func(resp kmsg.Response) bool {
		for _, topic := range resp.(*kmsg.ProduceResponse).Topics {
			for _, p := range topic.Partitions {
				if concurrent(p.ErrorCode) || kerr.ErrorForCode(p.ErrorCode) == kerr.NotEnoughReplicas {
					return true
				}
			}
		}
		return false
	}
	answers, err := t.need(q)
	if err != nil {
		return err
	}
	if p := answers[0].(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode == 0 {
		t.taken(name, partition, p.BaseOffset, map[string]sending{key: {count: int32(count)}})
		if b.epoch == c.epoch && w.number == c.number {
			c.next[key] = b.sequence + int32(count)
		}
		c.open = true
	}
	return nil
}

// splitKey is the reverse of partitionKey.
func splitKey(key string) (name string, partition int32) {
	name, number, _ := strings.Cut(key, "/")
	_, _ = fmt.Sscan(number, &partition)
	return name, partition
}

// end ends a client's transaction.
func (t *txnGame) end() error {
	c := t.client()
	w := t.who(c)
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerEpoch, req.Commit = w.id, w.epoch, !t.some(3)
	return t.askEnd(c, req, w.number)
}

// endAgain repeats an end, perhaps with the other outcome.
func (t *txnGame) endAgain() error {
	c := t.client()
	if len(c.ends) == 0 {
		return t.end()
	}
	req := *c.ends[t.rng.IntN(len(c.ends))]
	if t.some(3) {
		req.Commit = !req.Commit
	}
	return t.askEnd(c, &req, c.number)
}

func (t *txnGame) askEnd(c *txnClient, req *kmsg.EndTxnRequest, number int64) error {
	t.speak(c)
	answers, err := t.need(question{
		build: func(p *player) kmsg.Request { req.ProducerID = t.real(p, number); return req },
		again: func(resp kmsg.Response) bool { return concurrent(resp.(*kmsg.EndTxnResponse).ErrorCode) },
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.EndTxnResponse)
			r.ProducerID = t.number(p, r.ProducerID)
		},
	})
	if err != nil {
		return err
	}
	if resp := answers[0].(*kmsg.EndTxnResponse); resp.ErrorCode == 0 {
		kept := *req
		c.ends = append(c.ends, &kept)
		c.ends = c.ends[max(0, len(c.ends)-2):]
		c.open, c.parts = false, nil
		if answers[0].GetVersion() >= 5 && resp.ProducerEpoch >= 0 {
			if resp.ProducerID != c.number || resp.ProducerEpoch != c.epoch {
				c.next = map[string]int32{}
			}
			c.number, c.epoch = resp.ProducerID, resp.ProducerEpoch
		}
	}
	return t.settled(req.TransactionalID)
}

// mark writes markers as an administrator does who ends a hanging transaction.
func (t *txnGame) mark() error {
	c := t.client()
	w := t.who(c)
	names, partitions := t.someParts()
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	// A marker with a later epoch than the coordinator's next would have Kafka's wait for ever.
	m.ProducerEpoch, m.Committed, m.CoordinatorEpoch = max(0, min(w.epoch, c.epoch)), t.some(2), []int32{0, 0, 0, -1}[t.rng.IntN(4)] // a later one would fence the coordinator for ever
	m.TransactionVersion = int8(t.rng.IntN(3))
	for i, name := range names {
		m.Topics = append(m.Topics, kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: name, Partitions: []int32{partitions[i]}})
	}
	req.Markers = append(req.Markers, m)
	_, err := t.need(question{
		build: func(p *player) kmsg.Request { req.Markers[0].ProducerID = t.real(p, w.number); return req },
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.WriteTxnMarkersResponse)
			for i := range r.Markers {
				if r.Markers[i].ProducerID < 5_000_000 {
					r.Markers[i].ProducerID = t.number(p, r.Markers[i].ProducerID)
				}
				r.Markers[i].Topics = merged(r.Markers[i].Topics, func(o *kmsg.WriteTxnMarkersResponseMarkerTopic) (string, *[]kmsg.WriteTxnMarkersResponseMarkerTopicPartition) {
					return o.Topic, &o.Partitions
				})
			}
		},
	})
	return err
}
