// Package sarama runs the common script with IBM's sarama.
package sarama

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"compat/check"
)

// Client is sarama on one broker.
type Client struct {
	addr  []string
	cl    sarama.Client
	admin sarama.ClusterAdmin
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "compat-sarama"
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	c.Producer.Return.Successes = true
	c.Producer.MaxMessageBytes = 8 << 20
	c.Producer.Timeout = 20 * time.Second
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	c.Consumer.Group.Rebalance.Retry.Backoff = 100 * time.Millisecond
	return c
}

// New connects.
func New(addr string) (*Client, error) {
	cl, err := sarama.NewClient([]string{addr}, config())
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(cl)
	return &Client{[]string{addr}, cl, admin}, err
}

func (c *Client) CreateTopic(_ context.Context, topic string, partitions, replicas int, config map[string]string) error {
	m := map[string]*string{}
	for k, v := range config {
		m[k] = &v
	}
	return c.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: int16(replicas), ConfigEntries: m}, false)
}

func (c *Client) Partitions(_ context.Context, topic string) (int, error) {
	ms, err := c.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	if ms[0].Err != sarama.ErrNoError {
		return 0, ms[0].Err
	}
	return len(ms[0].Partitions), nil
}

func (c *Client) Config(_ context.Context, topic, key string) (string, error) {
	es, err := c.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{key}})
	if err != nil || len(es) != 1 {
		return "", err
	}
	return es[0].Value, nil
}

func (c *Client) Alter(_ context.Context, topic, key, value string) error {
	return c.admin.IncrementalAlterConfig(sarama.TopicResource, topic,
		map[string]sarama.IncrementalAlterConfigsEntry{key: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false)
}

func (c *Client) Grow(_ context.Context, topic string, partitions int) error {
	return c.admin.CreatePartitions(topic, int32(partitions), nil, false)
}

func (c *Client) Trim(_ context.Context, topic string, partition int32, before int64) error {
	return c.admin.DeleteRecords(topic, map[int32]int64{partition: before})
}

func (c *Client) Offsets(_ context.Context, topic string, partition int32) (int64, int64, error) {
	f, err := c.cl.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return 0, 0, err
	}
	e, err := c.cl.GetOffset(topic, partition, sarama.OffsetNewest)
	return f, e, err
}

func (c *Client) OffsetAt(_ context.Context, topic string, partition int32, ms int64) (int64, error) {
	return c.cl.GetOffset(topic, partition, ms)
}

func (c *Client) DeleteTopic(_ context.Context, topic string) error {
	return c.admin.DeleteTopic(topic)
}

func (c *Client) Groups(context.Context) ([]string, error) {
	m, err := c.admin.ListConsumerGroups()
	var out []string
	for g := range m {
		out = append(out, g)
	}
	return out, err
}

func (c *Client) Committed(_ context.Context, group, topic string) (map[int32]int64, error) {
	r, err := c.admin.ListConsumerGroupOffsets(group, nil)
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for p, b := range r.Blocks[topic] {
		out[p] = b.Offset
	}
	return out, nil
}

func (c *Client) DeleteGroup(_ context.Context, group string) error {
	return c.admin.DeleteConsumerGroup(group)
}

func (c *Client) Code(err error) int {
	var e sarama.KError
	var te *sarama.TopicError
	var ps sarama.ProducerErrors
	switch {
	case errors.As(err, &te):
		return int(te.Err)
	case errors.As(err, &ps) && len(ps) > 0:
		return c.Code(ps[0].Err)
	case errors.As(err, &e):
		return int(e)
	}
	return -2
}

func (c *Client) Produce(_ context.Context, topic string, partition int32, how check.How, records []check.Record) error {
	cfg := config()
	codecs := map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}
	cfg.Producer.Compression = codecs[how.Codec]
	cfg.Producer.RequiredAcks = sarama.RequiredAcks(how.Acks)
	cfg.Net.MaxOpenRequests = 1
	cfg.Producer.Flush.MaxMessages = 50
	if how.Idempotent {
		cfg.Producer.Idempotent = true
	}
	if partition >= 0 {
		cfg.Producer.Partitioner = sarama.NewManualPartitioner
	}
	p, err := sarama.NewSyncProducer(c.addr, cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	var ms []*sarama.ProducerMessage
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: topic, Partition: max(partition, 0), Timestamp: time.UnixMilli(r.Time)}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		ms = append(ms, m)
	}
	return p.SendMessages(ms)
}

func (c *Client) Consume(ctx context.Context, topic string, partition int32, from int64, n int) ([]check.Record, error) {
	co, err := sarama.NewConsumer(c.addr, config())
	if err != nil {
		return nil, err
	}
	defer co.Close()
	pc, err := co.ConsumePartition(topic, partition, from)
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	var out []check.Record
	for len(out) < n {
		select {
		case m := <-pc.Messages():
			out = append(out, record(m))
		case <-ctx.Done():
			return out, ctx.Err()
		}
	}
	return out, nil
}

func record(m *sarama.ConsumerMessage) check.Record {
	r := check.Record{Partition: m.Partition, Offset: m.Offset, Time: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, check.Header{Key: string(h.Key), Value: h.Value})
	}
	return r
}

// member runs a group session in the background, as sarama wants it.
type member struct {
	g       sarama.ConsumerGroup
	topic   string
	cancel  context.CancelFunc
	done    chan struct{}
	records chan check.Record
	claims  []int32 // guarded by mu
	revoked int     // guarded by mu
	once    sync.Once
	mu      sync.Mutex
	session sarama.ConsumerGroupSession
}

func (c *Client) Join(ctx context.Context, group, topic string) (check.Member, error) {
	return c.JoinAs(ctx, group, topic, check.Way{})
}

// Features: sarama has no subscription by pattern, and only classic groups.
func (c *Client) Features() []string { return []string{"coop", "static"} }

func (c *Client) JoinAs(_ context.Context, group, topic string, way check.Way) (check.Member, error) {
	cfg := config()
	cfg.Consumer.Group.InstanceId = way.Instance
	if way.Cooperative {
		cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
	cfg.ClientID += strconv.FormatInt(time.Now().UnixNano(), 36)
	g, err := sarama.NewConsumerGroup(c.addr, group, cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{g: g, topic: topic, cancel: cancel, done: make(chan struct{}), records: make(chan check.Record, 1000)}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	m.session = s
	m.mu.Unlock()
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.mu.Lock()
	m.claims = append(m.claims, claim.Partition())
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.claims = slices.DeleteFunc(m.claims, func(p int32) bool { return p == claim.Partition() })
		m.revoked++
	}()
	for {
		select {
		case r, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			m.records <- record(r)
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) Poll(ctx context.Context) (out []check.Record, err error) {
	for {
		select {
		case r := <-m.records:
			out = append(out, r)
		default:
			return out, nil
		}
	}
}

func (m *member) Commit(_ context.Context, records []check.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		m.session.MarkOffset(m.topic, r.Partition, r.Offset+1, "")
	}
	m.session.Commit()
	return nil
}

func (m *member) Assigned() int { return len(m.Partitions()) }

// Revoked counts the claims that ended.
func (m *member) Revoked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revoked
}

// Partitions are the claims that run.
func (m *member) Partitions() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.claims)
}

func (m *member) Close() (err error) {
	m.once.Do(func() {
		m.cancel()
		<-m.done
		err = m.g.Close()
	})
	return err
}
