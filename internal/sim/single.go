package sim

import (
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// History is what clients know of one partition, for tests that go step by step.
type History struct{ history }

// NewHistory begins one.
func NewHistory(topic string, index int32) *History {
	return &History{history{place: place{topic, index}, seen: map[int64]uint64{}}}
}

// SetDirs sets the data directories for the next boot, as log.dirs names them.
func (r *Rig) SetDirs(dirs string) { r.dirs = dirs }

// CreateTopic makes a topic.
func (r *Rig) CreateTopic(name string, partitions int32) error {
	_, err := r.createTopic(name, partitions)
	return err
}

// Step runs one piece of background work, or lets time pass up to the next.
func (r *Rig) Step() {
	if d, ok := r.hand.Next(); !r.hand.RunOne() && ok {
		r.hand.Advance(d)
	}
}

// Disk is the rig's disk.
func (r *Rig) Disk() *vfs.Sim { return r.disk }

// Pass lets a minute go by.
func (r *Rig) Pass() { r.hand.Advance(time.Minute) }

// Produce sends one batch of one record with about size bytes and waits for the answer.
func (r *Rig) Produce(h *History, size int) wire.Code {
	b, s := h.batch(1, size, record.Options{Codec: compress.None, Level: compress.DefaultLevel}, clock.Millis(r.hand.Now()))
	req, resp := &wire.ProduceRequest{}, &wire.ProduceResponse{}
	req.SetDefaults()
	req.Acks, req.TimeoutMs = -1, 10_000
	req.TopicData = []wire.ProduceRequestTopicProduceData{{
		Name: h.place.topic, PartitionData: []wire.ProduceRequestPartitionProduceData{{Index: h.place.index, Records: b}},
	}}
	if err := r.Call(req, produceLevel, resp); err != nil {
		s.maybe = true
		return wire.UnknownServerError
	}
	p := &resp.Responses[0].PartitionResponses[0]
	// What failed in the disk may or may not be there after a restart.
	s.acked, s.base, s.maybe = p.ErrorCode == wire.None, p.BaseOffset, true
	return p.ErrorCode
}

// Check reads the partition and holds it against the history.
func (r *Rig) Check(h *History) error {
	got, err := r.readAll(h.place)
	if err != nil {
		return fmt.Errorf("%s: %w", h.place, err)
	}
	return h.check(got)
}
