// Package segmentio runs the common script with segmentio's kafka-go.
package segmentio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"compat/check"
)

// Client is kafka-go on one broker.
type Client struct {
	addr string
	cl   *kafka.Client
}

// New connects at first use.
func New(addr string) (*Client, error) {
	return &Client{addr, &kafka.Client{Addr: kafka.TCP(addr), Timeout: 20 * time.Second, Transport: &kafka.Transport{MetadataTTL: 100 * time.Millisecond}}}, nil
}

// Lacks: the reader makes null of empty keys and shows the producer's times always.
func (c *Client) Lacks() []string { return []string{"null", "append-time"} }

func (c *Client) CreateTopic(ctx context.Context, topic string, partitions, replicas int, config map[string]string) error {
	t := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: replicas}
	for k, v := range config {
		t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	r, err := c.cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{t}})
	if err != nil {
		return err
	}
	return r.Errors[topic]
}

func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	r, err := c.cl.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	return len(r.Topics[0].Partitions), r.Topics[0].Error
}

func (c *Client) Config(ctx context.Context, topic, key string) (string, error) {
	r, err := c.cl.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{key}}}})
	if err != nil {
		return "", err
	}
	if e := r.Resources[0].ConfigEntries; len(e) == 1 {
		return e[0].ConfigValue, nil
	}
	return "", r.Resources[0].Error
}

func (c *Client) Alter(ctx context.Context, topic, key, value string) error {
	r, err := c.cl.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{
			{Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet}}}}})
	if err != nil {
		return err
	}
	return r.Resources[0].Error
}

func (c *Client) Grow(ctx context.Context, topic string, partitions int) error {
	r, err := c.cl.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(partitions)}}})
	if err != nil {
		return err
	}
	return r.Errors[topic]
}

func (c *Client) Trim(context.Context, string, int32, int64) error { return check.ErrUnsupported }

func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (int64, int64, error) {
	p := int(partition)
	r, err := c.cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p)}}})
	if err != nil {
		return 0, 0, err
	}
	o := r.Topics[topic][0]
	return o.FirstOffset, o.LastOffset, o.Error
}

func (c *Client) OffsetAt(ctx context.Context, topic string, partition int32, ms int64) (int64, error) {
	r, err := c.cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.TimeOffsetOf(int(partition), time.UnixMilli(ms))}}})
	if err != nil {
		return 0, err
	}
	o := r.Topics[topic][0]
	for offset := range o.Offsets {
		return offset, o.Error
	}
	return -1, o.Error
}

func (c *Client) DeleteTopic(ctx context.Context, topic string) error {
	r, err := c.cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return r.Errors[topic]
}

func (c *Client) Groups(ctx context.Context) (out []string, err error) {
	r, err := c.cl.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	for _, g := range r.Groups {
		out = append(out, g.GroupID)
	}
	return out, r.Error
}

func (c *Client) Committed(ctx context.Context, group, topic string) (map[int32]int64, error) {
	r, err := c.cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}}})
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for _, p := range r.Topics[topic] {
		out[int32(p.Partition)] = p.CommittedOffset
	}
	return out, r.Error
}

func (c *Client) DeleteGroup(ctx context.Context, group string) error {
	r, err := c.cl.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return r.Errors[group]
}

func (c *Client) Code(err error) int {
	var e kafka.Error
	var w kafka.WriteErrors
	switch {
	case errors.As(err, &w) && len(w) > 0:
		return c.Code(w[0])
	case errors.As(err, &e):
		return int(e)
	}
	return -2
}

func (c *Client) Produce(ctx context.Context, topic string, partition int32, how check.How, records []check.Record) error {
	if how.Idempotent {
		return check.ErrUnsupported
	}
	w := &kafka.Writer{Addr: kafka.TCP(c.addr), Topic: topic, BatchSize: 50, BatchBytes: 8 << 20, BatchTimeout: 20 * time.Millisecond,
		RequiredAcks: kafka.RequiredAcks(how.Acks), MaxAttempts: 3, Balancer: &kafka.Hash{}, Transport: c.cl.Transport}
	codecs := map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	w.Compression = codecs[how.Codec]
	if partition >= 0 {
		w.Balancer = kafka.BalancerFunc(func(kafka.Message, ...int) int { return int(partition) })
	}
	defer w.Close()
	var ms []kafka.Message
	for _, r := range records {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Time)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		ms = append(ms, m)
	}
	return w.WriteMessages(ctx, ms...)
}

func (c *Client) Consume(ctx context.Context, topic string, partition int32, from int64, n int) ([]check.Record, error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.addr}, Topic: topic, Partition: int(partition), MaxWait: 100 * time.Millisecond, MaxBytes: 8 << 20})
	defer r.Close()
	if err := r.SetOffset(from); err != nil {
		return nil, err
	}
	var out []check.Record
	for len(out) < n {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return out, err
		}
		out = append(out, record(m))
	}
	return out, nil
}

func record(m kafka.Message) check.Record {
	r := check.Record{Partition: int32(m.Partition), Offset: m.Offset, Time: m.Time.UnixMilli(), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, check.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

type member struct {
	c            *Client
	r            *kafka.Reader
	group, topic string
	id           string
	once         sync.Once
}

func (c *Client) Join(_ context.Context, group, topic string) (check.Member, error) {
	m := &member{c: c, group: group, topic: topic, id: "compat-" + strconv.FormatInt(time.Now().UnixNano(), 36)}
	m.r = kafka.NewReader(kafka.ReaderConfig{Brokers: []string{c.addr}, GroupID: group, Topic: topic, MaxWait: 100 * time.Millisecond,
		HeartbeatInterval: 200 * time.Millisecond, JoinGroupBackoff: 100 * time.Millisecond, StartOffset: kafka.FirstOffset,
		Dialer: &kafka.Dialer{ClientID: m.id, Timeout: 10 * time.Second}})
	return m, nil
}

func (m *member) Poll(ctx context.Context) (out []check.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	for {
		r, err := m.r.FetchMessage(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, record(r))
	}
}

func (m *member) Commit(ctx context.Context, records []check.Record) error {
	var ms []kafka.Message
	for _, r := range records {
		ms = append(ms, kafka.Message{Topic: m.topic, Partition: int(r.Partition), Offset: r.Offset})
	}
	return m.r.CommitMessages(ctx, ms...)
}

// Assigned asks the broker: the reader does not tell.
func (m *member) Assigned() int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := m.c.cl.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{m.group}})
	if err != nil || len(r.Groups) != 1 {
		return 0
	}
	for _, member := range r.Groups[0].Members {
		if member.ClientID == m.id {
			n := 0
			for _, t := range member.MemberAssignments.Topics {
				n += len(t.Partitions)
			}
			return n
		}
	}
	return 0
}

func (m *member) Close() (err error) {
	m.once.Do(func() {
		if err = m.r.Close(); err != nil {
			err = fmt.Errorf("leave: %w", err)
		}
	})
	return err
}
