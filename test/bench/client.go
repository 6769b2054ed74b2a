package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

const (
	clientID     = "bench"
	readBuffer   = 64 << 10
	maxResponse  = 64 << 20
	callTimeout  = 30 * time.Second
	setupTimeout = 60 * time.Second // for a server to come up, a topic to have its leaders
	retryPause   = time.Millisecond
)

// conn is a connection to a server, used by one goroutine at a time (the paced load: one that writes, one that reads).
type conn struct {
	net.Conn
	in          *bufio.Reader
	frame       []byte // the last response read
	out         []byte
	reader      wire.Reader
	correlation int32
}

func dial(addr string) (*conn, error) {
	c, err := dialNet(addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, readBuffer)}, nil
}

// response reads the next response. Its bytes hold until the next call.
func (c *conn) response() ([]byte, error) {
	head, err := c.in.Peek(4)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n > maxResponse {
		return nil, fmt.Errorf("a response of %d bytes: more than was asked for", n)
	}
	if _, err := c.in.Discard(4); err != nil {
		return nil, err
	}
	c.frame = slices.Grow(c.frame[:0], n)[:n]
	_, err = io.ReadFull(c.in, c.frame)
	return c.frame, err
}

// waiting tells whether a whole response has arrived already.
func (c *conn) waiting() bool {
	if c.in.Buffered() < 4 {
		return false
	}
	head, err := c.in.Peek(4)
	return err == nil && c.in.Buffered()-4 >= int(binary.BigEndian.Uint32(head))
}

// decode reads the response in c.frame into resp and checks its number.
func (c *conn) decode(resp wire.Message, version int16, correlation int32) error {
	r := &c.reader
	r.AliasStrings = true
	r.Reset(c.frame)
	got, err := wire.DecodeResponseHeader(r, resp.APIKey(), version)
	if err != nil {
		return err
	}
	if got != correlation {
		return fmt.Errorf("response %d came where %d was due", got, correlation)
	}
	resp.Decode(r, version)
	return r.Finish()
}

// send writes a request.
func (c *conn) send(req wire.Message, version int16) error {
	c.correlation++
	h := &wire.RequestHeader{APIKey: req.APIKey(), APIVersion: version, CorrelationID: c.correlation, ClientID: clientID}
	c.out = wire.AppendRequestFrame(c.out[:0], h, req)
	_, err := c.Write(c.out)
	return err
}

// call sends a request and reads its response.
func (c *conn) call(req, resp wire.Message, version int16) error {
	if err := c.send(req, version); err != nil {
		return err
	}
	if _, err := c.response(); err != nil {
		return err
	}
	return c.decode(resp, version, c.correlation)
}

// ask dials, calls once and hangs up.
func ask(addr string, req, resp wire.Message, version int16) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	return c.call(req, resp, version)
}

// topic is a topic of the server at addr.
type topic struct {
	addr       string
	name       string
	id         wire.UUID
	partitions int
}

// eventually tries until it works, and gives the last error after the timeout.
func eventually(timeout, pause time.Duration, try func() error) error {
	end := time.Now().Add(timeout)
	for {
		err := try()
		if err == nil {
			return nil
		}
		var final *finalError
		if errors.As(err, &final) || time.Now().After(end) {
			return err
		}
		<-time.After(pause)
	}
}

// finalError is one that trying again does not help.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// createTopic creates a topic and waits until all its partitions have leaders.
func createTopic(addr, name string, partitions int, configs map[string]string) (*topic, error) {
	req := &wire.CreateTopicsRequest{TimeoutMs: 30_000, Topics: []wire.CreateTopicsRequestCreatableTopic{{
		Name: name, NumPartitions: int32(partitions), ReplicationFactor: 1,
	}}}
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		req.Topics[0].Configs = append(req.Topics[0].Configs, wire.CreateTopicsRequestCreatableTopicConfig{Name: key, Value: &value})
	}
	err := eventually(setupTimeout, 20*time.Millisecond, func() error {
		var resp wire.CreateTopicsResponse
		if err := ask(addr, req, &resp, 7); err != nil {
			return err
		}
		if len(resp.Topics) != 1 {
			return fmt.Errorf("CreateTopics answers for %d topics", len(resp.Topics))
		}
		if r := resp.Topics[0]; r.ErrorCode != 0 && r.ErrorCode != wire.TopicAlreadyExists {
			err := fmt.Errorf("create topic %s: %v: %s", name, r.ErrorCode, text(r.ErrorMessage))
			if !r.ErrorCode.Retriable() {
				return &finalError{err}
			}
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t := &topic{addr: addr, name: name, partitions: partitions}
	err = eventually(setupTimeout, 20*time.Millisecond, func() error {
		c, err := dial(addr)
		if err != nil {
			return err
		}
		defer c.Close()
		return t.lead(c, false)
	})
	if err == nil {
		_, err = t.ends() // which the leaders give as soon as they serve
	}
	return t, err
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// lead asks for the topic's id, and fails while a partition has no leader. With create, the topic may be created on
// the way, as producers do it.
func (t *topic) lead(c *conn, create bool) error {
	var resp wire.MetadataResponse
	req := &wire.MetadataRequest{Topics: []wire.MetadataRequestTopic{{Name: &t.name}}, AllowAutoTopicCreation: create}
	if err := c.call(req, &resp, metadataVersion); err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("Metadata answers for %d topics", len(resp.Topics))
	}
	got := resp.Topics[0]
	if got.ErrorCode != 0 || len(got.Partitions) < t.partitions {
		return fmt.Errorf("topic %s: %v, %d partitions", t.name, got.ErrorCode, len(got.Partitions))
	}
	for _, p := range got.Partitions {
		if p.ErrorCode != 0 || p.LeaderID < 0 {
			return fmt.Errorf("topic %s partition %d: %v, leader %d", t.name, p.PartitionIndex, p.ErrorCode, p.LeaderID)
		}
	}
	t.id = got.TopicID
	return nil
}

// ends gives each partition's end offset. A leader that is elected but does not serve yet is waited for.
func (t *topic) ends() (ends []int64, err error) {
	return ends, eventually(setupTimeout, 20*time.Millisecond, func() error {
		ends, err = t.listEnds()
		return err
	})
}

func (t *topic) listEnds() ([]int64, error) {
	req := &wire.ListOffsetsRequest{ReplicaID: -1, Topics: []wire.ListOffsetsRequestListOffsetsTopic{{Name: t.name}}}
	for p := range t.partitions {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, wire.ListOffsetsRequestListOffsetsPartition{
			PartitionIndex: int32(p), CurrentLeaderEpoch: -1, Timestamp: -1,
		})
	}
	var resp wire.ListOffsetsResponse
	if err := ask(t.addr, req, &resp, 7); err != nil {
		return nil, err
	}
	ends := make([]int64, t.partitions)
	seen := 0
	for _, r := range resp.Topics {
		for _, p := range r.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("ListOffsets of %s-%d: %v", t.name, p.PartitionIndex, p.ErrorCode)
			}
			ends[p.PartitionIndex] = p.Offset
			seen++
		}
	}
	if seen != t.partitions {
		return nil, fmt.Errorf("ListOffsets of %s answers for %d of %d partitions", t.name, seen, t.partitions)
	}
	return ends, nil
}

// remove deletes the topic.
func (t *topic) remove() error {
	var resp wire.DeleteTopicsResponse
	req := &wire.DeleteTopicsRequest{Topics: []wire.DeleteTopicsRequestDeleteTopicState{{Name: &t.name}}, TimeoutMs: 30_000}
	if err := ask(t.addr, req, &resp, 6); err != nil {
		return err
	}
	for _, r := range resp.Responses {
		if r.ErrorCode != 0 {
			return fmt.Errorf("delete topic %s: %v: %s", t.name, r.ErrorCode, text(r.ErrorMessage))
		}
	}
	return nil
}
