package main

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/format/compress"
)

// dataDuel writes, reads, looks for and deletes records.
var dataDuel = discipline{name: "data", settings: dataSettings, play: playData}

// dataSettings: Moldau gives what is in one file or still in memory by one read, which would make lengths depend on when it writes.
const dataSettings = "ack.durability=written\n"

// dataTopic is a topic of a game.
type dataTopic struct {
	name       string
	partitions int
	settings   map[string]string
	ends       []int64 // of its partitions, as far as the game knows
	trimmed    bool    // records were deleted
}

// dataKinds are the settings of topics that have to do with records.
var dataKinds = []map[string]string{
	{},
	{},
	{"cleanup.policy": "compact"},
	{"message.timestamp.type": "LogAppendTime"},
	{"max.message.bytes": "600"},
	{"compression.type": "gzip"},
	{"compression.type": "zstd", "cleanup.policy": "compact,delete"},
	{"compression.type": "uncompressed"},
	{"message.timestamp.before.max.ms": "86400000", "message.timestamp.after.max.ms": "9223372036854775807"},
}

// dataGame is what a game about records knows.
type dataGame struct {
	*game
	full      map[int16]versionRange // versions of each API, where the game limits them for a request
	now       int64                  // the game's time in ms, from which the records' are made
	topics    []*dataTopic
	producers []*dataProducer
	sessions  []*dataSession
	numbers   [2]map[int64]int64 // what each side made up, producer ids and session ids, by the number it has in the game
}

// dataProducer is an idempotent producer, with what it knows of each partition.
type dataProducer struct {
	id    int64
	epoch int16
	next  map[string]int32
	sent  map[string][]sentBatch
}

// sentBatch is a batch that was taken.
type sentBatch struct {
	bytes []byte
	count int32
}

// gameAge is how much older than now the times of a game's records are, so that the broker's own can be told.
const gameAge = 6 * time.Hour

const (
	dataMoves    = 60
	rememberSent = 8
)

func playData(g *game) error {
	t, err := newDataGame(g, 3)
	if err != nil {
		return err
	}
	for i := range 3 {
		t.producers = append(t.producers, newDataProducer(int64(5_000_000+1000*i), t.rng))
	}
	moves := []func() error{
		t.produce, t.produce, t.produce, t.produce, t.produce, t.produce, t.fetch, t.fetch, t.fetch, t.fetch, t.fetch,
		t.listOffsets, t.listOffsets, t.epochEnd, t.deleteRecords, t.describeProducers,
	}
	for range dataMoves {
		if err := moves[g.rng.IntN(len(moves))](); err != nil {
			return err
		}
	}
	return t.readAll()
}

func newDataProducer(id int64, rng *rand.Rand) *dataProducer {
	return &dataProducer{id: id, epoch: int16(rng.IntN(3)), next: map[string]int32{}, sent: map[string][]sentBatch{}}
}

// newDataGame opens a connection and creates some topics.
func newDataGame(g *game, topics int) (*dataGame, error) {
	if err := g.open(1); err != nil {
		return nil, err
	}
	full := maps.Clone(g.versions)
	full[produceKey] = versionRange{3, full[produceKey].high} // older ones are offered for a client's sake only
	g.versions = maps.Clone(full)
	t := &dataGame{game: g, full: full, now: time.Now().Add(-gameAge).UnixMilli(), numbers: [2]map[int64]int64{{}, {}}}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for i := range topics {
		d := &dataTopic{name: fmt.Sprintf("%s.%d", g.prefix, i), partitions: 1 + g.rng.IntN(2), settings: dataKinds[g.rng.IntN(len(dataKinds))]}
		if i == 0 {
			d.settings = dataKinds[0]
		}
		d.ends = make([]int64, d.partitions)
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = d.name, int32(d.partitions), 1
		for _, key := range slices.Sorted(maps.Keys(d.settings)) {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = key, kmsg.StringPtr(d.settings[key])
			topic.Configs = append(topic.Configs, c)
		}
		req.Topics = append(req.Topics, topic)
		t.topics = append(t.topics, d)
	}
	if _, err := g.need(question{build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.CreateTopicsResponse)
		slices.SortFunc(r.Topics, func(a, b kmsg.CreateTopicsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for i := range r.Topics {
			r.Topics[i].Configs = nil
			p.bindID("id of "+r.Topics[i].Topic, r.Topics[i].TopicID)
		}
	}}); err != nil {
		return nil, err
	}
	return t, t.known()
}

// known waits until both brokers serve the topics, and learns their ids.
func (t *dataGame) known() error {
	for _, d := range t.topics {
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(d.name)
		req.Topics = append(req.Topics, topic)
		if _, err := t.need(question{late: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.MetadataResponse)
			r.Brokers, r.ClusterID, r.ControllerID = nil, nil, 0
			for i := range r.Topics {
				p.bindID("id of "+d.name, r.Topics[i].TopicID)
				slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
			}
		}}); err != nil {
			return err
		}
		list := kmsg.NewPtrListOffsetsRequest()
		list.ReplicaID = -1
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic = d.name
		for i := range d.partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = int32(i), -1
			lt.Partitions = append(lt.Partitions, p)
		}
		list.Topics = append(list.Topics, lt)
		if _, err := t.need(question{late: true, build: func(*player) kmsg.Request { return list }, learn: t.learnOffsets}); err != nil {
			return err
		}
	}
	if _, ok := t.sides[0].known["id of "+t.topics[0].name]; !ok { // a version without ids was drawn
		return t.known()
	}
	for _, d := range t.topics {
		if _, ok := t.sides[0].known["id of "+d.name]; !ok {
			return t.known()
		}
	}
	return nil
}

// id is a topic's id on one side.
func (t *dataGame) id(p *player, name string) (id [16]byte) {
	if s, ok := p.known["id of "+name]; ok {
		_, _ = hex.Decode(id[:], []byte(s))
		return id
	}
	copy(id[:], "no topic "+name[max(0, len(name)-7):]) // at no id at all Kafka fails
	return id
}

// some is true once in n times.
func (t *dataGame) some(n int) bool { return t.rng.IntN(n) == 0 }

// place is a partition, which now and then is none.
func (t *dataGame) place() (topic *dataTopic, name string, partition int32) {
	d := t.topics[t.rng.IntN(len(t.topics))]
	if t.some(25) {
		return nil, []string{t.prefix + ".none", "__consumer_offsets", "", "__cluster_metadata"}[t.rng.IntN(4)], 0
	}
	if t.some(25) {
		return nil, d.name, []int32{-1, 7, math.MaxInt32}[t.rng.IntN(3)]
	}
	return d, d.name, int32(t.rng.IntN(d.partitions))
}

// number gives what a side made up a number that is the same on both.
func (t *dataGame) number(p *player, id int64) int64 {
	m := t.numbers[0]
	if p == t.sides[1] {
		m = t.numbers[1]
	}
	if id < 0 {
		return id
	}
	if _, ok := m[id]; !ok {
		m[id] = int64(len(m)) + 1
	}
	return m[id]
}

// numbered tells whether something has a number.
func (t *dataGame) numbered(p *player, id int64) bool {
	m := t.numbers[0]
	if p == t.sides[1] {
		m = t.numbers[1]
	}
	_, ok := m[id]
	return ok
}

// real is what a side made up, by its number.
func (t *dataGame) real(p *player, number int64) int64 {
	m := t.numbers[0]
	if p == t.sides[1] {
		m = t.numbers[1]
	}
	for id, n := range m {
		if n == number {
			return id
		}
	}
	return number
}

func partitionKey(name string, partition int32) string {
	return name + "/" + strconv.Itoa(int(partition))
}

// sending is what a batch of a request means to the game if it is taken.
type sending struct {
	producer *dataProducer
	epoch    int16
	next     int32
	bytes    []byte
	count    int32
	again    bool
}

func (t *dataGame) produce() error {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = []int16{-1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, -2}[t.rng.IntN(14)]
	req.TimeoutMillis = 5000
	if t.some(20) {
		req.TransactionID = kmsg.StringPtr("t")
	}
	meant := map[string]sending{}
	for range 1 + t.rng.IntN(3) {
		d, name, partition := t.place()
		key := partitionKey(name, partition)
		if _, twice := meant[key]; twice {
			continue
		}
		records, s := t.batch(key)
		alone := !framed(records) // Kafka refuses all of the request
		if alone && (len(meant) > 0 || d == nil) {
			continue
		}
		meant[key] = s
		addProduce(req, name, partition, records)
		if alone {
			break
		}
	}
	silent := false
	if req.Acks == 1 && t.some(15) {
		req.Acks, silent = 0, t.allGood(req, meant)
		if !silent {
			req.Acks = 1
		}
	}
	q := t.produceQuestion(req)
	q.silent = silent
	answers, err := t.need(q)
	if err != nil || silent {
		return err
	}
	for _, topic := range answers[0].(*kmsg.ProduceResponse).Topics {
		name := topic.Topic + t.nameOf(t.sides[0], topic.TopicID)
		for _, p := range topic.Partitions {
			if p.ErrorCode == 0 {
				t.taken(name, p.Partition, p.BaseOffset, meant)
			}
		}
	}
	return nil
}

// allGood tells whether a request without acknowledgement would be taken; otherwise both would close the connection.
func (t *dataGame) allGood(*kmsg.ProduceRequest, map[string]sending) bool { return false }

// nameOf is the name of the topic that has an id on one side.
func (t *dataGame) nameOf(p *player, id [16]byte) string {
	for _, d := range t.topics {
		if t.id(p, d.name) == id {
			return d.name
		}
	}
	return ""
}

// taken notes what a partition has got.
func (t *dataGame) taken(name string, partition int32, offset int64, meant map[string]sending) {
	key := partitionKey(name, partition)
	s := meant[key]
	for _, d := range t.topics {
		if d.name == name && int(partition) < len(d.ends) {
			d.ends[partition] = max(d.ends[partition], offset+int64(s.count))
		}
	}
	if s.producer == nil || s.again {
		return
	}
	s.producer.epoch = max(s.producer.epoch, s.epoch)
	s.producer.next[key] = s.next
	list := append(s.producer.sent[key], sentBatch{s.bytes, s.count})
	s.producer.sent[key] = list[max(0, len(list)-rememberSent):]
}

// framed tells whether records begin with what may be a batch or a message, as far as they go.
func framed(p []byte) bool {
	const leastLength = 14
	return (len(p) < batchLengthAt+4 || int32(binary.BigEndian.Uint32(p[batchLengthAt:])) >= leastLength) && (len(p) <= batchMagicAt || p[batchMagicAt] <= 2)
}

// produceQuestion is a Produce request whose answer has no order and no times of the broker.
func (t *dataGame) produceQuestion(req *kmsg.ProduceRequest) question {
	return question{
		build: func(p *player) kmsg.Request {
			for i := range req.Topics {
				req.Topics[i].TopicID = t.id(p, req.Topics[i].Topic)
			}
			return req
		},
		learn: func(p *player, resp kmsg.Response) {
			r := resp.(*kmsg.ProduceResponse)
			r.Topics = merged(r.Topics, func(o *kmsg.ProduceResponseTopic) (string, *[]kmsg.ProduceResponseTopicPartition) {
				return t.topicText(p, o.Topic, o.TopicID), &o.Partitions
			})
			for i := range r.Topics {
				for j := range r.Topics[i].Partitions {
					o := &r.Topics[i].Partitions[j]
					if o.LogAppendTime > 0 {
						o.LogAppendTime = 1
					}
					o.ErrorMessage = nil // Moldau says why in its own words, Kafka mostly nothing
					for k := range o.ErrorRecords {
						if m := o.ErrorRecords[k].ErrorMessage; m != nil {
							*m = "why"
						}
					}
				}
			}
		},
	}
}

func addProduce(req *kmsg.ProduceRequest, name string, partition int32, records []byte) {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	for i := range req.Topics {
		if req.Topics[i].Topic == name {
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
			return
		}
	}
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = name, []kmsg.ProduceRequestTopicPartition{p}
	req.Topics = append(req.Topics, topic)
}

// batch makes the records for one partition.
func (t *dataGame) batch(key string) ([]byte, sending) {
	count := []int{1, 1, 2, 3, 5, 12}[t.rng.IntN(6)]
	b, list := batchOf(t.rng, t.now, count)
	t.now += 1000
	s := sending{count: int32(count)}
	if t.some(2) {
		if old := t.sequence(b, key, &s); old != nil {
			return old, s
		}
	}
	var p []byte
	if t.some(4) {
		p = batchFaults[t.rng.IntN(len(batchFaults))](t.rng, b, list)
	} else {
		p = b.bytes()
	}
	s.bytes = p
	return p, s
}

// sequence makes the batch a producer's: mostly its next one, or one that it has sent before, which is returned.
func (t *dataGame) sequence(b *duelBatch, key string, s *sending) []byte {
	pr := t.producers[t.rng.IntN(len(t.producers))]
	next, known := pr.next[key]
	if !known && t.some(4) {
		next = []int32{7, math.MaxInt32 - 2, math.MaxInt32}[t.rng.IntN(3)]
	}
	b.producer, b.epoch, b.sequence = pr.id, pr.epoch, next
	s.producer = pr
	switch t.rng.IntN(14) {
	case 0:
		b.sequence += int32(1 + t.rng.IntN(3))
	case 1:
		b.sequence = max(0, b.sequence-int32(1+t.rng.IntN(3)))
	case 2:
		b.epoch--
	case 3:
		b.epoch, b.sequence = b.epoch+1, 0
	case 4:
		b.epoch++
	case 5, 6:
		if list := pr.sent[key]; len(list) > 0 {
			old := list[t.rng.IntN(len(list))]
			s.again, s.count = true, old.count
			return old.bytes
		}
	case 7:
		b.sequence = []int32{-1, 0}[t.rng.IntN(2)]
	}
	if b.epoch < 0 || b.sequence < 0 { // refused here, taken by Kafka: see record.Validate
		b.epoch, b.sequence = max(0, b.epoch), max(0, b.sequence)
	}
	s.epoch = b.epoch
	s.next = int32((int64(b.sequence) + int64(b.count)) & math.MaxInt32)
	return nil
}

// listOffsets asks for offsets by time.
func (t *dataGame) listOffsets() error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = int8(t.rng.IntN(2))
	req.TimeoutMillis = 1000
	for range 1 + t.rng.IntN(3) {
		d, name, partition := t.place()
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition = partition
		p.CurrentLeaderEpoch = t.leaderEpoch()
		p.Timestamp = []int64{-1, -2, -3, -4, -5, -6, -7, 0, t.now, t.now - 3000, t.now - 20_000, t.now + 100_000, math.MaxInt64, math.MinInt64}[t.rng.IntN(14)]
		if p.Timestamp == -3 && d != nil && d.trimmed {
			p.Timestamp = -1 // Kafka finds records that are deleted: see commitlog.Log.MaxTimestamp
		}
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
	}
	_, err := t.need(question{build: func(*player) kmsg.Request { return req }, learn: t.learnOffsets})
	return err
}

func (t *dataGame) learnOffsets(_ *player, resp kmsg.Response) {
	r := resp.(*kmsg.ListOffsetsResponse)
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			o := &r.Topics[i].Partitions[j]
			if o.Timestamp > time.Now().Add(-gameAge/2).UnixMilli() && o.Timestamp < time.Now().UnixMilli() {
				o.Timestamp = 1 // of a marker, or of a topic with the broker's times
			}
		}
	}
	r.Topics = merged(r.Topics, func(o *kmsg.ListOffsetsResponseTopic) (string, *[]kmsg.ListOffsetsResponseTopicPartition) {
		return o.Topic, &o.Partitions
	})
}

// merged sorts topics and their partitions, and makes one topic of several with the same name.
func merged[T, P any](topics []T, of func(*T) (string, *[]P)) []T {
	var out []T
	for i := range topics {
		name, list := of(&topics[i])
		at := slices.IndexFunc(out, func(have T) bool { n, _ := of(&have); return n == name })
		if at < 0 {
			out = append(out, topics[i])
			continue
		}
		_, have := of(&out[at])
		*have = append(*have, *list...)
	}
	slices.SortFunc(out, func(a, b T) int {
		x, _ := of(&a)
		y, _ := of(&b)
		return cmp.Compare(x, y)
	})
	for i := range out {
		_, list := of(&out[i])
		slices.SortFunc(*list, func(a, b P) int { return cmp.Compare(partitionText(a), partitionText(b)) })
	}
	return out
}

// partitionText begins with the partition's number.
func partitionText(p any) string {
	v := reflect.ValueOf(p)
	var b strings.Builder
	fmt.Fprintf(&b, "%012d ", v.FieldByName("Partition").Int()+1)
	spell(&b, v)
	return b.String()
}

func (t *dataGame) topic(name string) *dataTopic {
	for _, d := range t.topics {
		if d.name == name {
			return d
		}
	}
	return nil
}

// leaderEpoch is what a client knows of a leader.
func (t *dataGame) leaderEpoch() int32 {
	return []int32{-1, -1, -1, -1, -1, 0, 0, 0, 1, math.MaxInt32}[t.rng.IntN(10)]
}

// epochEnd asks where leaders' epochs ended.
func (t *dataGame) epochEnd() error {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	for range 1 + t.rng.IntN(3) {
		_, name, partition := t.place()
		topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
		topic.Topic = name
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch = partition, t.leaderEpoch()
		p.LeaderEpoch = []int32{0, 0, 0, -1, 1, 5, math.MaxInt32}[t.rng.IntN(7)]
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
	}
	_, err := t.need(question{build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.OffsetForLeaderEpochResponse)
		r.Topics = merged(r.Topics, func(o *kmsg.OffsetForLeaderEpochResponseTopic) (string, *[]kmsg.OffsetForLeaderEpochResponseTopicPartition) {
			return o.Topic, &o.Partitions
		})
	}})
	return err
}

// deleteRecords moves the starts of logs.
func (t *dataGame) deleteRecords() error {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 5000
	seen := map[string]bool{}
	for range 1 + t.rng.IntN(2) {
		d, name, partition := t.place()
		if key := partitionKey(name, partition); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition = partition
		p.Offset = []int64{-1, -2, 0, 1, math.MaxInt64}[t.rng.IntN(5)]
		if d != nil && !t.some(3) {
			p.Offset = t.rng.Int64N(d.ends[partition] + 2)
		}
		if d != nil {
			d.trimmed = true
		}
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic, topic.Partitions = name, []kmsg.DeleteRecordsRequestTopicPartition{p}
		req.Topics = append(req.Topics, topic)
	}
	_, err := t.need(question{build: func(*player) kmsg.Request { return req }, learn: func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.DeleteRecordsResponse)
		r.Topics = merged(r.Topics, func(o *kmsg.DeleteRecordsResponseTopic) (string, *[]kmsg.DeleteRecordsResponseTopicPartition) {
			return o.Topic, &o.Partitions
		})
	}})
	return err
}

// describeProducers asks for what partitions know of producers.
func (t *dataGame) describeProducers() error {
	req := kmsg.NewPtrDescribeProducersRequest()
	for range 1 + t.rng.IntN(3) {
		_, name, partition := t.place()
		topic := kmsg.NewDescribeProducersRequestTopic()
		topic.Topic, topic.Partitions = name, []int32{partition}
		req.Topics = append(req.Topics, topic)
	}
	_, err := t.need(question{build: func(*player) kmsg.Request { return req }, learn: t.learnProducers})
	return err
}

func (t *dataGame) learnProducers(p *player, resp kmsg.Response) {
	r := resp.(*kmsg.DescribeProducersResponse)
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if m := r.Topics[i].Partitions[j].ErrorMessage; m != nil {
				*m = "why" // the code in other words
			}
			list := slices.DeleteFunc(r.Topics[i].Partitions[j].ActiveProducers, func(o kmsg.DescribeProducersResponseTopicPartitionActiveProducer) bool {
				return t.topic(r.Topics[i].Topic) == nil && !t.numbered(p, o.ProducerID) // of another game
			})
			if r.Topics[i].Partitions[j].ActiveProducers = list; len(list) == 0 {
				r.Topics[i].Partitions[j].ActiveProducers = nil
			}
			for k := range list {
				if list[k].ProducerID < 5_000_000 {
					list[k].ProducerID = t.number(p, list[k].ProducerID)
				}
				if list[k].LastTimestamp > time.Now().Add(-gameAge/2).UnixMilli() {
					list[k].LastTimestamp = 1 // the broker's time
				}
			}
			slices.SortFunc(list, func(a, b kmsg.DescribeProducersResponseTopicPartitionActiveProducer) int {
				return cmp.Compare(a.ProducerID, b.ProducerID)
			})
		}
	}
}

// plain makes the records of a Fetch answer comparable: without times that the broker set, and unpacked where the broker has packed
// them itself.
func (t *dataGame) plain(p *player, d *dataTopic, records []byte) []byte {
	rest := records
	for len(rest) >= batchRecordsAt {
		n := int(binary.BigEndian.Uint32(rest[batchLengthAt:])) + batchLengthAt + 4
		if n > len(rest) || n < batchRecordsAt {
			break
		}
		b := rest[:n]
		control := b[22]&batchControl != 0
		if control || d != nil && d.settings["message.timestamp.type"] != "" {
			clear(b[27:43])
			clear(b[batchCRCAt:batchSummedAt])
		}
		if id := int64(binary.BigEndian.Uint64(b[43:])); id >= 0 && id < 5_000_000 {
			binary.BigEndian.PutUint64(b[43:], uint64(t.number(p, id)))
			clear(b[batchCRCAt:batchSummedAt])
		}
		rest = rest[n:]
	}
	clear(rest) // what is cut off counts by its length
	if d == nil || d.settings["compression.type"] == "" {
		return records
	}
	var out []byte
	for rest := records; len(rest) >= batchRecordsAt; {
		n := int(binary.BigEndian.Uint32(rest[batchLengthAt:])) + batchLengthAt + 4
		if n > len(rest) || n < batchRecordsAt {
			break
		}
		b := rest[:n]
		out = append(out, b[:8]...)
		out = append(out, b[12:batchCRCAt]...)
		out = append(out, b[batchSummedAt:batchRecordsAt]...)
		var err error
		if out, err = compress.Decompress(out, b[batchRecordsAt:], compress.Codec(b[22]&7), 1<<20); err != nil {
			return records
		}
		rest = rest[n:]
	}
	return out
}
