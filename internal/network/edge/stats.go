package edge

import (
	"sync/atomic"

	"github.com/moldau/moldau/internal/format/wire"
)

// counts are the server's rare counters; [traffic] has the others.
type counts struct {
	accepted atomic.Uint64
	refused  [reasonCount]atomic.Uint64
}

// Stats is what a server has done so far.
type Stats struct {
	Connections       int    // open now
	Accepted          uint64 // connections ever
	Requests          uint64
	BytesIn, BytesOut uint64
	QueuedBytes       int64 // held by frames now
	// Refused counts by reason; index with the Reason.
	Refused [reasonCount]uint64
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	out := Stats{
		Accepted: s.counts.accepted.Load(),
		BytesIn:  s.traffic.counters.Sum(countBytesIn), BytesOut: s.traffic.counters.Sum(countBytesOut),
		QueuedBytes: s.budget.used.Load(),
	}
	for key := range wire.APIs {
		out.Requests += s.traffic.requests(key)
	}
	for i := range out.Refused {
		out.Refused[i] = s.counts.refused[i].Load()
	}
	s.mu.Lock()
	out.Connections = len(s.conns)
	s.mu.Unlock()
	return out
}
