package broker

import (
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/txn"
	"github.com/moldau/moldau/internal/metric"
)

// verifications is what is counted of the questions to the transaction coordinator.
type verifications struct {
	took   metric.Histogram
	failed atomic.Uint64 // partitions
}

// counted notes the outcome of a question that was asked at a time.
func (v *verifications) counted(took time.Duration, codes []wire.Code) {
	v.took.Observe(took)
	for _, code := range codes {
		if code != wire.None {
			v.failed.Add(1)
		}
	}
}

// emitTransactions tells about transactions that this broker coordinates, and about those that write here.
func emitTransactions(b *Broker, out *metric.Sink) {
	s := b.transactions.Stats()
	for state, n := range s.IDs {
		out.Gauge("moldau_transactional_ids", "Transactional ids that are coordinated here, by state.", float64(n), "state", txn.State(state).String())
	}
	const channel = "kafka_coordinator_transaction_transactionmarkerchannelmanager_"
	out.Gauge(channel+"unknowndestinationqueuesize", "Markers that could not be written and will be tried again.", float64(s.Waiting))
	out.Gauge(channel+"logappendretryqueuesize", "Partitions of __transaction_state that are loaded anew because a state could not be written.", float64(s.Reloading))
	const loads = "kafka_server_transaction_coordinator_metrics_partition_load_time_"
	out.Gauge(loads+"max", "Milliseconds that it took to load a partition of __transaction_state, at most.", float64(s.LoadMax)/float64(time.Millisecond))
	out.Gauge(loads+"avg", "Milliseconds that it took to load a partition of __transaction_state, on average.",
		float64(s.LoadSum)/float64(time.Millisecond)/float64(max(s.Loads, 1)))
	const verifying = "kafka_server_addpartitionstotxnmanager_verification"
	out.Counter(verifying+"failures_total", "Partitions that the transaction coordinator did not let producers write to.", float64(b.verified.failed.Load()))
	count, sum := b.verified.took.Count()
	out.Counter(verifying+"timems_count", "Questions to the transaction coordinator before a producer's first write to partitions.", float64(count))
	out.Gauge(verifying+"timems_mean", "Milliseconds that it took to answer them, on average.", float64(sum)/float64(time.Millisecond)/float64(max(count, 1)))
	out.Counter("moldau_late_transactional_requests_total", "Requests of transactional producers that came on connections which they had given up, and were refused.",
		float64(b.latecomers.refused.Load()))
}
