package node_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node"
)

// rig is a node on a simulated disk and a hand-driven clock.
type rig struct {
	t    *testing.T
	hand *clock.Hand
	node *node.Node
	conn *edge.DirectConn
	next int32
}

// newRig starts a node; more is settings beside the usual ones, key after key.
func newRig(t *testing.T, more ...string) *rig {
	t.Helper()
	return newRigLogging(t, slog.New(slog.DiscardHandler), nil, more...)
}

// newRigLogging is newRig with a log, from a level on.
func newRigLogging(t *testing.T, log *slog.Logger, from *slog.LevelVar, more ...string) *rig {
	t.Helper()
	values := config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/data",
		"listeners":                 "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
		"controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": "localhost:9093",
		"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1",
		"moldau.journal.segment.bytes": "1048576", "moldau.tail.bytes": "1048576",
	}
	for i := 0; i < len(more); i += 2 {
		values[more[i]] = more[i+1]
	}
	cfg, err := config.NewBroker(values)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, hand: clock.NewHand(1)}
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
	ready := false
	r.node, err = node.Begin(node.Options{Config: cfg, FS: disk.Mount(), World: r.hand, Logger: log, LogLevel: from, NoListeners: true},
		func(err error) {
			if ready = true; err != nil {
				t.Error(err)
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	r.until("ready", time.Minute, func() bool { return ready })
	r.conn = edge.NewDirect(r.node.Handler(), "PLAINTEXT")
	return r
}

// until runs the world until cond holds, for at most patience of its time.
func (r *rig) until(what string, patience time.Duration, cond func() bool) {
	r.t.Helper()
	end := r.hand.Mono() + patience
	for !cond() {
		if r.hand.RunOne() {
			continue
		}
		d, ok := r.hand.Next()
		if !ok || r.hand.Mono()+d > end {
			r.t.Fatalf("%s did not happen within %v", what, patience)
		}
		r.hand.Advance(d)
	}
}

// pending is a request on its way.
type pending struct {
	answered bool
	err      error
}

// send sends a request, whose answer goes into the response.
func (r *rig) send(m wire.Message, version int16, into wire.Message) *pending {
	r.next++
	p := &pending{}
	h := wire.RequestHeader{APIKey: m.APIKey(), APIVersion: version, CorrelationID: r.next}
	r.conn.Send(wire.AppendRequestFrame(nil, &h, m)[4:], func(b []byte, err error) {
		if p.answered, p.err = true, err; err != nil {
			return
		}
		rd := wire.NewReader(b)
		if _, p.err = wire.DecodeResponseHeader(rd, m.APIKey(), version); p.err != nil {
			return
		}
		into.Decode(rd, version)
		p.err = rd.Finish()
	})
	return p
}

// call sends a request and waits for its answer.
func (r *rig) call(m wire.Message, version int16, into wire.Message) {
	r.t.Helper()
	p := r.send(m, version, into)
	r.until(wire.APIName(m.APIKey()), time.Minute, func() bool { return p.answered })
	if p.err != nil {
		r.t.Fatalf("%s version %d: %v", wire.APIName(m.APIKey()), version, p.err)
	}
}

// create makes a topic and gives its id.
func (r *rig) create(name string, partitions int32) wire.UUID {
	r.t.Helper()
	m := &wire.CreateTopicsRequest{}
	m.SetDefaults()
	t := wire.CreateTopicsRequestCreatableTopic{}
	t.SetDefaults()
	t.Name, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	m.Topics = append(m.Topics, t)
	resp := &wire.CreateTopicsResponse{}
	r.call(m, 7, resp)
	if code := resp.Topics[0].ErrorCode; code != wire.None {
		r.t.Fatal(code)
	}
	return resp.Topics[0].TopicID
}

// producer says who a batch is from; the zero value with noProducer's fields is nobody.
type producer struct {
	attributes int16
	id         int64
	epoch      int16
	sequence   int32
}

var noProducer = producer{0, -1, -1, -1}

// batch is one record in a batch.
func batch(p producer, value string) []byte {
	b := make([]byte, 61)
	rec := append([]byte{0, 0, 0, 1, byte(len(value) << 1)}, value...)
	rec = append(rec, 0)
	b = binary.AppendVarint(b, int64(len(rec)))
	b = append(b, rec...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	binary.BigEndian.PutUint16(b[21:], uint16(p.attributes))
	binary.BigEndian.PutUint64(b[43:], uint64(p.id))
	binary.BigEndian.PutUint16(b[51:], uint16(p.epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(p.sequence))
	binary.BigEndian.PutUint32(b[57:], 1)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func produceRequest(acks int16, topic string, index int32, records []byte) *wire.ProduceRequest {
	m := &wire.ProduceRequest{}
	m.SetDefaults()
	m.Acks, m.TimeoutMs = acks, 1000
	m.TopicData = []wire.ProduceRequestTopicProduceData{{Name: topic, PartitionData: []wire.ProduceRequestPartitionProduceData{{Index: index, Records: records}}}}
	return m
}

// produce appends one small record.
func (r *rig) produce(topic string, index int32) {
	r.t.Helper()
	resp := &wire.ProduceResponse{}
	r.call(produceRequest(-1, topic, index, batch(noProducer, "hello")), 9, resp)
	if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code != wire.None {
		r.t.Fatal(code)
	}
}

// brief is a fetch response in one line.
func brief(m *wire.FetchResponse) string {
	s := fmt.Sprintf("error %d session %v", int16(m.ErrorCode), m.SessionID != 0)
	for i := range m.Responses {
		for _, p := range m.Responses[i].Partitions {
			s += fmt.Sprintf(" [%d: error %d hw %d bytes %d]", p.PartitionIndex, int16(p.ErrorCode), p.HighWatermark, len(p.Records))
		}
	}
	return s
}
