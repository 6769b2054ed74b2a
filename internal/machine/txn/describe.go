package txn

import (
	"regexp"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// Describe describes one transactional id.
func (m *Machine) Describe(id string) wire.DescribeTransactionsResponseTransactionState {
	out := wire.DescribeTransactionsResponseTransactionState{TransactionalID: id}
	t := m.txns[id]
	switch {
	case id == "":
		out.ErrorCode = wire.InvalidRequest
	case t == nil || t.retired:
		out.ErrorCode = wire.TransactionalIDNotFound
	default:
		out.ProducerID, out.ProducerEpoch, out.TransactionState = t.producerID, t.epoch, t.state.String()
		out.TransactionTimeoutMs, out.TransactionStartTimeMs = t.timeoutMs, t.startMs
		left := t.partitions
		if t.state.preparing() {
			left = t.unsent
		}
		for _, p := range byTopic(left) {
			out.Topics = append(out.Topics, wire.DescribeTransactionsResponseTopicData{Topic: p.Topic, Partitions: p.PartitionIDs})
		}
	}
	return out
}

// Count adds to the number of transactional ids in each state.
func (m *Machine) Count(states *[Dead]int) {
	for _, t := range m.txns { //unordered: numbers
		if t.state < Dead {
			states[t.state]++
		}
	}
}

// Filter is what ListTransactions asks for; an empty part asks for nothing.
type Filter struct {
	States      []State
	ProducerIDs []int64
	// RunningMs is how long a transaction has been open at least; negative for any.
	//
	// Differs from Kafka: ListTransactions by duration finds transactions that are open. Kafka counts how long ago the last
	// one began also where that has ended, and from 1970 where there was none.
	RunningMs int64
	// Pattern matches transactional ids; nil for any.
	Pattern *regexp.Regexp
}

// List lists the transactional ids that the filter lets through, in their order.
func (m *Machine) List(now Time, f *Filter) []wire.ListTransactionsResponseTransactionState {
	var list []wire.ListTransactionsResponseTransactionState
	for _, id := range m.ids() {
		t := m.txns[id]
		switch {
		case t.retired,
			len(f.ProducerIDs) > 0 && !slices.Contains(f.ProducerIDs, t.producerID),
			len(f.States) > 0 && !slices.Contains(f.States, t.state),
			f.RunningMs >= 0 && (t.startMs < 0 || t.state != Ongoing && !t.state.preparing() || now.Wall-t.startMs <= f.RunningMs),
			f.Pattern != nil && !f.Pattern.MatchString(id):
			continue
		}
		list = append(list, wire.ListTransactionsResponseTransactionState{
			TransactionalID: t.id, ProducerID: t.producerID, TransactionState: t.state.String(),
		})
	}
	return list
}

// ParseState reads a state's name as ListTransactions has it.
func ParseState(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(i), i >= 0
}
