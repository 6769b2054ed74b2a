package node_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// sessionReader is a consumer with a fetch session.
type sessionReader struct {
	r       *rig
	id      wire.UUID
	session int32
	epoch   int32
	offsets []int64
	told    []int64        // high watermarks
	listed  []bool         // in the session
	changed map[int32]bool // to be mentioned with the next fetch
	forget  map[int32]bool
	start   []int64 // log starts, as told
}

// request is the next fetch.
func (s *sessionReader) request(maxBytes int32) *wire.FetchRequest {
	m := fetchRequest(s.id, at(0, 0))
	m.Topics[0].Partitions = nil
	m.SessionID, m.SessionEpoch, m.MinBytes, m.MaxBytes = s.session, s.epoch, 1, maxBytes
	for i := range s.offsets {
		index := int32(i)
		switch {
		case s.forget[index]:
			if len(m.ForgottenTopicsData) == 0 {
				m.ForgottenTopicsData = []wire.FetchRequestForgottenTopic{{Topic: "a", TopicID: s.id}}
			}
			m.ForgottenTopicsData[0].Partitions = append(m.ForgottenTopicsData[0].Partitions, index)
			s.listed[i] = false
		case s.epoch == 0 || s.changed[index]:
			p := at(index, s.offsets[i])
			m.Topics[0].Partitions = append(m.Topics[0].Partitions, p)
			s.listed[i] = true
		}
	}
	if len(m.Topics[0].Partitions) == 0 {
		m.Topics = nil
	}
	clear(s.changed)
	clear(s.forget)
	return m
}

// take notes an answer; those of the partitions that give records for which ignore is true are as if they had not.
func (s *sessionReader) take(resp *wire.FetchResponse, ignore func() bool) (records int) {
	s.r.t.Helper()
	if resp.ErrorCode != wire.None || resp.SessionID == 0 {
		s.r.t.Fatalf("error %v, session %d", resp.ErrorCode, resp.SessionID)
	}
	s.session = resp.SessionID
	s.epoch++
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			i := p.PartitionIndex
			if p.ErrorCode == wire.OffsetOutOfRange {
				s.offsets[i], s.changed[i] = s.start[i], true
				continue
			}
			if p.ErrorCode != wire.None || !s.listed[i] {
				s.r.t.Fatalf("partition %d, listed %v: %v", i, s.listed[i], p.ErrorCode)
			}
			s.told[i] = p.HighWatermark
			for rest := p.Records; len(rest) > 0; {
				b, next, err := record.Next(rest)
				if err != nil {
					break // cut
				}
				if b.BaseOffset() != s.offsets[i] {
					s.r.t.Fatalf("partition %d gives offset %d where %d is due", i, b.BaseOffset(), s.offsets[i])
				}
				if ignore() {
					break
				}
				s.offsets[i], s.changed[i] = b.LastOffset()+1, true
				records++
				rest = next
			}
		}
	}
	return records
}

// TestSessionNews: a session's fetches look only at the partitions that may have something to tell. Whatever happens
// meanwhile, its reader gets every record, and learns of every high watermark.
func TestSessionNews(t *testing.T) {
	const partitions = 12
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := newRig(t)
		s := &sessionReader{
			r: r, id: r.create("a", partitions), offsets: make([]int64, partitions), told: make([]int64, partitions), start: make([]int64, partitions),
			listed: make([]bool, partitions), changed: map[int32]bool{}, forget: map[int32]bool{},
		}
		writer := *r
		writer.conn = newConn(r)
		ends := make([]int64, partitions)
		write := func() {
			i := rnd.Int32N(partitions)
			writer.produce("a", i)
			ends[i]++
		}
		never := func() bool { return false }
		for step := range 200 {
			for range rnd.IntN(3) {
				write()
			}
			i := rnd.Int32N(partitions)
			switch rnd.IntN(12) {
			case 0:
				if s.epoch > 0 && s.listed[i] {
					s.forget[i] = true
				}
			case 1:
				s.changed[i] = true
			case 2:
				if step >= 100 {
					break // nobody tells of it: the walk over all partitions finds it
				}
				m := &wire.DeleteRecordsRequest{TimeoutMs: 1000, Topics: []wire.DeleteRecordsRequestDeleteRecordsTopic{{Name: "a",
					Partitions: []wire.DeleteRecordsRequestDeleteRecordsPartition{{PartitionIndex: i, Offset: -1}}}}}
				writer.call(m, 2, &wire.DeleteRecordsResponse{})
				s.start[i] = ends[i]
			}
			m := s.request([]int32{1, 100, 200, 1 << 20}[rnd.IntN(4)])
			m.MinBytes = []int32{1, 1, 100, 300}[rnd.IntN(4)]
			if m.MaxWaitMs = rnd.Int32N(2); step < 100 {
				m.MaxWaitMs = []int32{0, 10, 700}[rnd.IntN(3)]
			}
			resp := &wire.FetchResponse{}
			p := r.send(m, 13, resp)
			if rnd.IntN(2) == 0 {
				write()
			}
			r.until("the answer", time.Minute, func() bool { return p.answered })
			s.take(resp, func() bool { return rnd.IntN(4) == 0 })
		}
		for i := range s.listed {
			s.changed[int32(i)] = s.changed[int32(i)] || !s.listed[i]
		}
		for quiet := 0; quiet < 3; { // without time for a walk
			resp := &wire.FetchResponse{}
			m := s.request(150)
			m.MaxWaitMs = 0
			r.call(m, 13, resp)
			if quiet++; s.take(resp, never) > 0 {
				quiet = 0
			}
		}
		m := s.request(150)
		m.MaxWaitMs = 100
		resp := &wire.FetchResponse{}
		p := r.send(m, 13, resp)
		write()
		if r.until("the answer", time.Second, func() bool { return p.answered }); s.take(resp, never) != 1 {
			t.Fatalf("seed %d: a record came, and the fetch that waits gives %s", seed, brief(resp))
		}
		for i, end := range ends {
			if s.offsets[i] != end || s.told[i] != end {
				t.Fatalf("seed %d: partition %d ends at %d; read up to %d, told %d", seed, i, end, s.offsets[i], s.told[i])
			}
		}
	}
}
