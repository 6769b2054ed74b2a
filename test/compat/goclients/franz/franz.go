// Package franz runs the common script with franz-go.
package franz

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"compat/check"
)

// Client is franz-go on one broker.
type Client struct {
	addr  string
	admin *kadm.Client
}

// New connects.
func New(addr string) (*Client, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &Client{addr, kadm.NewClient(cl)}, nil
}

func (c *Client) CreateTopic(ctx context.Context, topic string, partitions, replicas int, config map[string]string) error {
	m := map[string]*string{}
	for k, v := range config {
		m[k] = &v
	}
	_, err := c.admin.CreateTopic(ctx, int32(partitions), int16(replicas), m, topic)
	return err
}

func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	m, err := c.admin.Metadata(ctx, topic)
	if err != nil {
		return 0, err
	}
	t := m.Topics[topic]
	return len(t.Partitions), t.Err
}

func (c *Client) Config(ctx context.Context, topic, key string) (string, error) {
	rs, err := c.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	r, err := rs.On(topic, nil)
	if err != nil {
		return "", err
	}
	for _, e := range r.Configs {
		if e.Key == key {
			return e.MaybeValue(), r.Err
		}
	}
	return "", r.Err
}

func (c *Client) Alter(ctx context.Context, topic, key, value string) error {
	rs, err := c.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err != nil {
		return err
	}
	_, err = rs.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	return err
}

func (c *Client) Grow(ctx context.Context, topic string, partitions int) error {
	rs, err := c.admin.UpdatePartitions(ctx, partitions, topic)
	if err != nil {
		return err
	}
	return rs.Error()
}

func (c *Client) Trim(ctx context.Context, topic string, partition int32, before int64) error {
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, Partition: partition, At: before, LeaderEpoch: -1})
	rs, err := c.admin.DeleteRecords(ctx, os)
	if err != nil {
		return err
	}
	return rs.Error()
}

func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (int64, int64, error) {
	f, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	e, err := c.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	return f[topic][partition].Offset, e[topic][partition].Offset, errors.Join(f.Error(), e.Error())
}

func (c *Client) OffsetAt(ctx context.Context, topic string, partition int32, ms int64) (int64, error) {
	o, err := c.admin.ListOffsetsAfterMilli(ctx, ms, topic)
	if err != nil {
		return 0, err
	}
	return o[topic][partition].Offset, o.Error()
}

func (c *Client) DeleteTopic(ctx context.Context, topic string) error {
	_, err := c.admin.DeleteTopic(ctx, topic)
	return err
}

func (c *Client) Groups(ctx context.Context) ([]string, error) {
	g, err := c.admin.ListGroups(ctx)
	return g.Groups(), err
}

func (c *Client) Committed(ctx context.Context, group, topic string) (map[int32]int64, error) {
	rs, err := c.admin.FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for p, o := range rs[topic] {
		out[p] = o.At
	}
	return out, nil
}

func (c *Client) DeleteGroup(ctx context.Context, group string) error {
	_, err := c.admin.DeleteGroup(ctx, group)
	return err
}

func (c *Client) Code(err error) int {
	var e *kerr.Error
	if errors.As(err, &e) {
		return int(e.Code)
	}
	return -2
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func (c *Client) Produce(ctx context.Context, topic string, partition int32, how check.How, records []check.Record) error {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.addr), kgo.ProducerBatchCompression(codec(how.Codec)), kgo.ProducerBatchMaxBytes(8 << 20),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	if how.Idempotent {
		opts = append(opts, kgo.ProducerBatchMaxBytes(4000))
	} else {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	switch how.Acks {
	case 0:
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()))
	case 1:
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	if partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var rs []*kgo.Record
	for _, r := range records {
		k := &kgo.Record{Topic: topic, Partition: partition, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Time)}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		rs = append(rs, k)
	}
	return cl.ProduceSync(ctx, rs...).FirstErr()
}

func (c *Client) Consume(ctx context.Context, topic string, partition int32, from int64, n int) ([]check.Record, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var out []check.Record
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return out, err
		}
		out = append(out, records(fs)...)
	}
	return out, nil
}

func records(fs kgo.Fetches) (out []check.Record) {
	fs.EachRecord(func(r *kgo.Record) {
		c := check.Record{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			c.Headers = append(c.Headers, check.Header{Key: h.Key, Value: h.Value})
		}
		out = append(out, c)
	})
	return out
}

type member struct {
	cl      *kgo.Client
	mu      sync.Mutex
	has     map[string]map[int32]bool
	revoked int
	once    sync.Once
}

func (m *member) give(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t, ps := range ps {
		if m.has[t] == nil {
			m.has[t] = map[int32]bool{}
		}
		for _, p := range ps {
			m.has[t][p] = true
		}
	}
}

func (m *member) take(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t, ps := range ps {
		for _, p := range ps {
			delete(m.has[t], p)
			m.revoked++
		}
	}
}

func (c *Client) Join(ctx context.Context, group, topic string) (check.Member, error) {
	return c.JoinAs(ctx, group, topic, check.Way{})
}

// Features: franz-go has all.
func (c *Client) Features() []string { return check.Features }

func (c *Client) JoinAs(_ context.Context, group, topic string, way check.Way) (check.Member, error) {
	m := &member{has: map[string]map[int32]bool{}}
	opts := []kgo.Opt{kgo.SeedBrokers(c.addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second), kgo.OnPartitionsAssigned(m.give), kgo.OnPartitionsRevoked(m.take), kgo.OnPartitionsLost(m.take)}
	if way.Cooperative {
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	if way.Instance != "" {
		opts = append(opts, kgo.InstanceID(way.Instance))
	}
	if way.Pattern {
		opts = append(opts, kgo.ConsumeRegex())
	}
	if way.New {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	cl, err := kgo.NewClient(opts...)
	m.cl = cl
	return m, err
}

func (m *member) Poll(ctx context.Context) ([]check.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	fs := m.cl.PollFetches(ctx)
	err := fs.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return records(fs), err
}

func (m *member) Commit(ctx context.Context, records []check.Record) error {
	m.mu.Lock()
	topic := slices.Collect(maps.Keys(m.has))[0] // members that commit have one topic
	m.mu.Unlock()
	var rs []*kgo.Record
	for _, r := range records {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: -1})
	}
	return m.cl.CommitRecords(ctx, rs...)
}

func (m *member) Assigned() int { return len(m.Partitions()) }

// Partitions are what the member has now, of whatever topic.
func (m *member) Partitions() (out []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ps := range m.has {
		out = slices.AppendSeq(out, maps.Keys(ps))
	}
	return out
}

func (m *member) Revoked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revoked
}

func (m *member) Close() error {
	m.once.Do(m.cl.Close)
	return nil
}

type queueMember struct{ cl *kgo.Client }

func (c *Client) JoinQueue(ctx context.Context, group, topic string) (check.QueueMember, error) {
	if err := c.fromStart(ctx, group); err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr), kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.FetchMaxWait(100*time.Millisecond))
	return &queueMember{cl}, err
}

// fromStart has a share group begin with the first record.
func (c *Client) fromStart(ctx context.Context, group string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "share.auto.offset.reset", kmsg.StringPtr("earliest")
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Resources[0].ErrorCode)
}

func (m *queueMember) Poll(ctx context.Context) (out []check.Taken, err error) {
	ctx, cancel := context.WithTimeout(ctx, check.QueuePoll)
	defer cancel()
	fs := m.cl.PollFetches(ctx)
	if err = fs.Err(); errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	fs.EachRecord(func(r *kgo.Record) {
		out = append(out, check.Taken{Record: check.Record{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}, Deliveries: int(r.DeliveryCount()),
			Accept: func() { r.Ack(kgo.AckAccept) }, Release: func() { r.Ack(kgo.AckRelease) }, Reject: func() { r.Ack(kgo.AckReject) }})
	})
	return out, err
}

func (m *queueMember) Close() error {
	m.cl.Close()
	return nil
}
