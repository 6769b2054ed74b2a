package broker

import (
	"regexp"
	"slices"
	"sync/atomic"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/idempotence"
	"github.com/moldau/moldau/internal/machine/txn"
	"github.com/moldau/moldau/internal/network/edge"
)

// NewProducerID gives a producer id that was never used.
func (b *Broker) NewProducerID(done func(id int64, code wire.Code)) { b.producerIDs.take(b, done) }

// serveAddPartitionsToTxn has partitions take part in transactions: up to version 3 clients ask for one, from version 4
// on brokers do for many.
func serveAddPartitionsToTxn(b *Broker, q *edge.Request, m *wire.AddPartitionsToTxnRequest, answer func(*wire.AddPartitionsToTxnResponse)) {
	out := &wire.AddPartitionsToTxnResponse{}
	if q.Version >= 4 && !b.onCluster(q, acl.ClusterAction) {
		answer(&wire.AddPartitionsToTxnResponse{ErrorCode: wire.ClusterAuthorizationFailed})
		return
	}
	if q.Version < 4 {
		if !b.allowed(q, acl.Write, acl.TransactionalID, m.V3AndBelowTransactionalID) {
			out.ResultsByTopicV3AndBelow = refuseAddition(m.V3AndBelowTopics, wire.TransactionalIDAuthorizationFailed)
			answer(out)
			return
		}
		if b.latecomers.late(q, m.V3AndBelowProducerID, m.V3AndBelowProducerEpoch, txn.UseCoordinator) {
			out.ResultsByTopicV3AndBelow = refuseAddition(m.V3AndBelowTopics, wire.CoordinatorLoadInProgress)
			answer(out)
			return
		}
		tx := wire.AddPartitionsToTxnRequestAddPartitionsToTxnTransaction{
			TransactionalID: m.V3AndBelowTransactionalID, ProducerID: m.V3AndBelowProducerID,
			ProducerEpoch: m.V3AndBelowProducerEpoch, Topics: m.V3AndBelowTopics,
		}
		b.addToTxn(q, &tx, func(results []wire.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult) {
			for i := range results {
				for k := range results[i].ResultsByPartition {
					r := &results[i].ResultsByPartition[k]
					r.PartitionErrorCode = fenced(r.PartitionErrorCode, q.Version < 2)
				}
			}
			out.ResultsByTopicV3AndBelow = results
			answer(out)
		})
		return
	}
	out.ResultsByTransaction = make([]wire.AddPartitionsToTxnResponseAddPartitionsToTxnResult, len(m.Transactions))
	var left atomic.Int32
	left.Store(int32(len(m.Transactions)) + 1)
	one := func() {
		if left.Add(-1) == 0 {
			answer(out)
		}
	}
	for i := range m.Transactions {
		out.ResultsByTransaction[i].TransactionalID = m.Transactions[i].TransactionalID
		b.addToTxn(q, &m.Transactions[i], func(results []wire.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult) {
			out.ResultsByTransaction[i].TopicResults = results
			one()
		})
	}
	one()
}

// fenced says PRODUCER_FENCED in the words of clients that do not know it yet.
func fenced(code wire.Code, old bool) wire.Code {
	if code == wire.ProducerFenced && old {
		return wire.InvalidProducerEpoch
	}
	return code
}

// refuseAddition is the answer when none of the partitions is added for one reason.
func refuseAddition(topics []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic, code wire.Code) []wire.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult {
	results := make([]wire.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult, len(topics))
	for i := range topics {
		results[i].Name = topics[i].Name
		for _, index := range topics[i].Partitions {
			results[i].ResultsByPartition = append(results[i].ResultsByPartition,
				wire.AddPartitionsToTxnResponseAddPartitionsToTxnPartitionResult{PartitionIndex: index, PartitionErrorCode: code})
		}
	}
	return results
}

// addToTxn adds or verifies the partitions of one transaction. If one does not exist, or may not be written to, none is
// added. What brokers ask from version 4 on, the client has had to be allowed by them.
func (b *Broker) addToTxn(q *edge.Request, tx *wire.AddPartitionsToTxnRequestAddPartitionsToTxnTransaction, done func([]wire.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult)) {
	img := b.image()
	results := make([]wire.AddPartitionsToTxnResponseAddPartitionsToTxnTopicResult, len(tx.Topics))
	var list []txn.Partition
	missing := false
	for i := range tx.Topics {
		t := &tx.Topics[i]
		topic, ok := img.Topic(t.Name)
		denied := q.Version < 4 && (internalTopic(t.Name) || !b.allowed(q, acl.Write, acl.Topic, t.Name))
		results[i].Name = t.Name
		for _, index := range t.Partitions {
			r := wire.AddPartitionsToTxnResponseAddPartitionsToTxnPartitionResult{PartitionIndex: index}
			if denied {
				r.PartitionErrorCode, missing = wire.TopicAuthorizationFailed, true
			} else if !ok || index < 0 || int(index) >= len(topic.Partitions) {
				r.PartitionErrorCode, missing = wire.UnknownTopicOrPartition, true
			}
			results[i].ResultsByPartition = append(results[i].ResultsByPartition, r)
			list = append(list, txn.Partition{Topic: t.Name, Index: index})
		}
	}
	settle := func(code func(i int) wire.Code) {
		at := 0
		for i := range results {
			for k := range results[i].ResultsByPartition {
				if r := &results[i].ResultsByPartition[k]; r.PartitionErrorCode == wire.None {
					r.PartitionErrorCode = code(at)
				}
				at++
			}
		}
		done(results)
	}
	p := txn.Producer{ID: tx.ProducerID, Epoch: tx.ProducerEpoch}
	switch {
	case missing:
		settle(func(int) wire.Code { return wire.OperationNotAttempted })
	case tx.VerifyOnly:
		b.transactions.VerifyPartitions(tx.TransactionalID, p, list, nil, func(codes []wire.Code) {
			settle(func(i int) wire.Code { return codes[i] })
		})
	default:
		b.transactions.AddPartitions(tx.TransactionalID, p, list, nil, func(code wire.Code) {
			settle(func(int) wire.Code { return code })
		})
	}
}

// serveAddOffsetsToTxn has the partition of __consumer_offsets that keeps a group's offsets take part in a transaction.
func serveAddOffsetsToTxn(b *Broker, q *edge.Request, m *wire.AddOffsetsToTxnRequest, answer func(*wire.AddOffsetsToTxnResponse)) {
	switch {
	case !b.allowed(q, acl.Write, acl.TransactionalID, m.TransactionalID):
		answer(&wire.AddOffsetsToTxnResponse{ErrorCode: wire.TransactionalIDAuthorizationFailed})
		return
	case !b.allowed(q, acl.Read, acl.Group, m.GroupID):
		answer(&wire.AddOffsetsToTxnResponse{ErrorCode: wire.GroupAuthorizationFailed})
		return
	}
	if b.latecomers.late(q, m.ProducerID, m.ProducerEpoch, txn.UseCoordinator) {
		answer(&wire.AddOffsetsToTxnResponse{ErrorCode: wire.CoordinatorLoadInProgress})
		return
	}
	list := []txn.Partition{{Topic: offsetsTopic, Index: b.groups.PartitionFor(m.GroupID)}}
	b.transactions.AddPartitions(m.TransactionalID, txn.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, list, nil, func(code wire.Code) {
		answer(&wire.AddOffsetsToTxnResponse{ErrorCode: fenced(code, q.Version < 2)})
	})
}

// serveEndTxn commits or aborts a transaction.
func serveEndTxn(b *Broker, q *edge.Request, m *wire.EndTxnRequest, answer func(*wire.EndTxnResponse)) {
	if !b.allowed(q, acl.Write, acl.TransactionalID, m.TransactionalID) {
		out := &wire.EndTxnResponse{}
		out.SetDefaults()
		out.ErrorCode = wire.TransactionalIDAuthorizationFailed
		answer(out)
		return
	}
	if q.Version < bumpSince && b.latecomers.late(q, m.ProducerID, m.ProducerEpoch, txn.UseCoordinator) {
		answer(&wire.EndTxnResponse{ErrorCode: wire.CoordinatorLoadInProgress, ProducerID: -1, ProducerEpoch: -1})
		return
	}
	b.transactions.EndTxn(m, client(q), q.Version, answer)
}

// implicitAddSince is the version of TxnOffsetCommit whose clients leave it to the broker to have partitions take part
// (KIP-890); implicitProduceSince is that of Produce. Clients of EndTxn from bumpSince on go on with another epoch. From abortableCommitSince on clients of TxnOffsetCommit know
// TRANSACTION_ABORTABLE.
const (
	implicitAddSince     = 5
	implicitProduceSince = 12
	bumpSince            = 5
	abortableCommitSince = 4
)

// serveTxnOffsetCommit commits offsets within a transaction.
func serveTxnOffsetCommit(b *Broker, q *edge.Request, m *wire.TxnOffsetCommitRequest, answer func(*wire.TxnOffsetCommitResponse)) {
	switch {
	case !b.allowed(q, acl.Write, acl.TransactionalID, m.TransactionalID):
		answer(txnCommitError(m, wire.TransactionalIDAuthorizationFailed))
		return
	case !b.allowed(q, acl.Read, acl.Group, m.GroupID):
		answer(txnCommitError(m, wire.GroupAuthorizationFailed))
		return
	}
	if q.Version < implicitAddSince && b.latecomers.late(q, m.ProducerID, m.ProducerEpoch, txn.UseOffsets) {
		answer(txnCommitError(m, wire.CoordinatorLoadInProgress))
		return
	}
	img := b.image()
	refused := make(map[int]map[int]wire.Code)
	whole := *m
	whole.Topics = make([]wire.TxnOffsetCommitRequestTopic, len(m.Topics))
	kept := make([]wire.TxnOffsetCommitRequestTopic, 0, len(m.Topics))
	for i := range m.Topics {
		t := m.Topics[i]
		code := wire.UnknownTopicOrPartition
		if q.Version >= 6 {
			code = wire.UnknownTopicID
			if topic, ok := img.TopicByID(t.TopicID); ok {
				t.Name = topic.Name
			}
		}
		whole.Topics[i] = t
		topic, ok := img.Topic(t.Name)
		if (ok || q.Version < 6) && !b.allowed(q, acl.Read, acl.Topic, t.Name) {
			ok, code = false, wire.TopicAuthorizationFailed
		}
		known := t
		known.Partitions = nil
		for k, p := range t.Partitions {
			if ok && p.PartitionIndex >= 0 && int(p.PartitionIndex) < len(topic.Partitions) {
				known.TopicID = topic.ID
				known.Partitions = append(known.Partitions, p)
				continue
			}
			if refused[i] == nil {
				refused[i] = map[int]wire.Code{}
			}
			refused[i][k] = code
		}
		if len(known.Partitions) > 0 {
			kept = append(kept, known)
		}
	}
	if m.Topics = kept; len(kept) == 0 && len(refused) > 0 {
		answer(wholeTxnCommit(&whole, refused, nil))
		return
	}
	b.txnOffsetCommit(m, q.Version, func(part *wire.TxnOffsetCommitResponse) { answer(wholeTxnCommit(&whole, refused, part)) })
}

// wholeTxnCommit puts what the coordinator answered and what was refused before into the order of the request.
func wholeTxnCommit(req *wire.TxnOffsetCommitRequest, refused map[int]map[int]wire.Code, part *wire.TxnOffsetCommitResponse) *wire.TxnOffsetCommitResponse {
	out := &wire.TxnOffsetCommitResponse{Topics: make([]wire.TxnOffsetCommitResponseTopic, len(req.Topics))}
	at := 0
	for i := range req.Topics {
		t := &out.Topics[i]
		t.Name, t.TopicID = req.Topics[i].Name, req.Topics[i].TopicID
		n := 0
		for k, p := range req.Topics[i].Partitions {
			r := wire.TxnOffsetCommitResponsePartition{PartitionIndex: p.PartitionIndex}
			if code, ok := refused[i][k]; ok {
				r.ErrorCode = code
			} else {
				r.ErrorCode = part.Topics[at].Partitions[n].ErrorCode
				n++
			}
			t.Partitions = append(t.Partitions, r)
		}
		if n > 0 {
			at++
		}
	}
	return out
}

// txnOffsetCommit asks the transaction coordinator, with the append announced to the log first: a marker that comes
// between makes the guard void, so that no offset stays behind in a transaction that has ended.
func (b *Broker) txnOffsetCommit(m *wire.TxnOffsetCommitRequest, version int16, done func(*wire.TxnOffsetCommitResponse)) {
	refuse := func(code wire.Code) { done(txnCommitError(m, group.AppendCode(code))) }
	of := txn.Partition{Topic: offsetsTopic, Index: b.groups.PartitionFor(m.GroupID)}
	p := b.table.ByName(of.Topic).Partition(of.Index)
	switch {
	case m.GroupID == "":
		refuse(wire.InvalidGroupID)
		return
	case p == nil:
		refuse(wire.CoordinatorNotAvailable)
		return
	}
	bump := version >= implicitAddSince
	guard, err := p.Log().BeginVerification(announced(m), bump)
	if err != nil {
		code, _ := appendCode(err)
		refuse(code)
		return
	}
	again := func() { guard, err = p.Log().BeginVerification(announced(m), bump) }
	commit := func(code wire.Code) {
		if code == wire.None && err != nil {
			code, _ = appendCode(err)
		}
		if code != wire.None {
			refuse(verified(code, bump, version >= abortableCommitSince))
			return
		}
		b.groups.TxnOffsetCommit(m, uint64(guard), done)
	}
	if guard == idempotence.NoGuard || !asks(b, bump) {
		commit(wire.None)
		return
	}
	b.askTransaction(m.TransactionalID, txn.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch}, []txn.Partition{of}, bump, again,
		func(codes []wire.Code) { commit(codes[0]) })
}

// announced is a batch with the header of the one that a TxnOffsetCommit request will lead to.
func announced(m *wire.TxnOffsetCommitRequest) []byte {
	b := record.NewBuilder(nil, record.Options{
		Idempotent: true, Transactional: true, ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, BaseSequence: -1,
	})
	b.Append(0, nil, nil)
	batch, err := b.Finish()
	if err != nil {
		return nil // one empty record always fits
	}
	return batch
}

func txnCommitError(m *wire.TxnOffsetCommitRequest, code wire.Code) *wire.TxnOffsetCommitResponse {
	out := &wire.TxnOffsetCommitResponse{Topics: make([]wire.TxnOffsetCommitResponseTopic, len(m.Topics))}
	for i := range m.Topics {
		out.Topics[i].Name, out.Topics[i].TopicID = m.Topics[i].Name, m.Topics[i].TopicID
		for _, p := range m.Topics[i].Partitions {
			out.Topics[i].Partitions = append(out.Topics[i].Partitions, wire.TxnOffsetCommitResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
	}
	return out
}

// asks says whether the transaction coordinator is asked before a producer's first write to a partition. For clients that leave it
// to the broker to have partitions take part there is no other way.
func asks(b *Broker, add bool) bool {
	return add || b.config().GetBool("transaction.partition.verification.enable")
}

// askTransaction asks whether partitions take part in a transaction, or, for clients that leave that to the broker, has
// them take part; done gets a code for each. Before it is decided after a wait, again is called.
func (b *Broker) askTransaction(id string, p txn.Producer, list []txn.Partition, add bool, again func(), done func([]wire.Code)) {
	began := b.world.Mono()
	answered := func(codes []wire.Code) {
		b.verified.counted(b.world.Mono()-began, codes)
		done(codes)
	}
	if !add {
		b.transactions.VerifyPartitions(id, p, list, again, answered)
		return
	}
	b.transactions.AddPartitions(id, p, list, again, func(code wire.Code) {
		codes := make([]wire.Code, len(list))
		for i := range codes {
			codes[i] = code
		}
		answered(codes)
	})
}

// verified says what the transaction coordinator has answered in words that the client understands: old ones know
// neither TRANSACTION_ABORTABLE nor what to do when a coordinator is not ready, and try again on NOT_ENOUGH_REPLICAS.
func verified(code wire.Code, bump, abortable bool) wire.Code {
	switch code {
	case wire.CoordinatorLoadInProgress, wire.CoordinatorNotAvailable, wire.NotCoordinator:
		return wire.NotEnoughReplicas
	case wire.ConcurrentTransactions:
		if !bump {
			return wire.NotEnoughReplicas
		}
	case wire.TransactionAbortable:
		if !abortable {
			return wire.InvalidTxnState
		}
	case wire.ProducerFenced:
		return wire.InvalidProducerEpoch
	}
	return code
}

// serveWriteTxnMarkers writes markers that a coordinator, or an administrator who ends a hanging transaction, asks for.
func serveWriteTxnMarkers(b *Broker, q *edge.Request, m *wire.WriteTxnMarkersRequest, answer func(*wire.WriteTxnMarkersResponse)) {
	if b.everywhere(q, acl.Alter) {
		b.noted(q, acl.ClusterAction, acl.Cluster, acl.ClusterName)
	} else if !b.onCluster(q, acl.ClusterAction) {
		answer(refuseWriteTxnMarkers(m))
		return
	}
	out := &wire.WriteTxnMarkersResponse{Markers: make([]wire.WriteTxnMarkersResponseWritableTxnMarkerResult, len(m.Markers))}
	var left atomic.Int32
	left.Store(1)
	one := func() {
		if left.Add(-1) == 0 {
			answer(out)
		}
	}
	for i := range m.Markers {
		in, res := &m.Markers[i], &out.Markers[i]
		res.ProducerID = in.ProducerID
		res.Topics = make([]wire.WriteTxnMarkersResponseWritableTxnMarkerTopicResult, len(in.Topics))
		mark := record.EndTxnMarker{
			ProducerID: in.ProducerID, ProducerEpoch: in.ProducerEpoch, CoordinatorEpoch: in.CoordinatorEpoch, Commit: in.TransactionResult,
		}
		for j := range in.Topics {
			t := &res.Topics[j]
			t.Name = in.Topics[j].Name
			t.Partitions = make([]wire.WriteTxnMarkersResponseWritableTxnMarkerPartitionResult, len(in.Topics[j].PartitionIndexes))
			for k, index := range in.Topics[j].PartitionIndexes {
				r := &t.Partitions[k]
				r.PartitionIndex = index
				left.Add(1)
				b.writeMarker(&mark, int16(in.TransactionVersion), txn.Partition{Topic: t.Name, Index: index}, func(code wire.Code) {
					r.ErrorCode = code
					one()
				})
			}
		}
	}
	one()
}

// WriteMarkers writes the markers of the coordinator on this node. A partition that is gone needs none.
func (b *Broker) WriteMarkers(m *txn.Markers, coordinatorEpoch int32, done func(settled []txn.Partition)) {
	mark := record.EndTxnMarker{ProducerID: m.ProducerID, ProducerEpoch: m.Epoch, CoordinatorEpoch: coordinatorEpoch, Commit: m.Commit}
	codes := make([]wire.Code, len(m.Partitions))
	var left atomic.Int32
	left.Store(int32(len(codes)) + 1)
	one := func() {
		if left.Add(-1) > 0 {
			return
		}
		var settled []txn.Partition
		for i, code := range codes {
			if b.markerSettled(code, m.Partitions[i]) {
				settled = append(settled, m.Partitions[i])
			}
		}
		done(settled)
	}
	for i, p := range m.Partitions {
		b.writeMarker(&mark, m.Version, p, func(code wire.Code) {
			codes[i] = code
			one()
		})
	}
	one()
}

// markerSettled says whether a marker need not be tried again: it is written, or the producer has gone on in a later
// epoch, or there is nothing to write it to. A coordinator that has been fenced has not settled anything: it is about to
// hear that it resigns, and who comes after it writes the marker.
func (b *Broker) markerSettled(code wire.Code, p txn.Partition) bool {
	switch code {
	case wire.None, wire.InvalidProducerEpoch:
		return true
	case wire.UnknownTopicOrPartition:
		topic, ok := b.image().Topic(p.Topic)
		return !ok || int(p.Index) >= len(topic.Partitions)
	}
	return false
}

// writeMarker appends a marker to one partition, and tells the groups if it is one of theirs.
func (b *Broker) writeMarker(m *record.EndTxnMarker, version int16, of txn.Partition, done func(wire.Code)) {
	p := b.table.ByName(of.Topic).Partition(of.Index)
	if p == nil {
		done(wire.UnknownTopicOrPartition)
		return
	}
	mark := *m
	mark.Timestamp = b.world.Now().UnixMilli()
	p.AppendMarker(&mark, version, func(offset int64, err error) {
		if err != nil {
			code, _ := appendCode(err)
			done(code)
			return
		}
		if of.Topic == offsetsTopic {
			b.groups.EndTransaction(of.Index, mark.ProducerID, mark.Commit, offset)
		}
		done(wire.None)
	})
}

// serveDescribeTransactions describes transactional ids (KIP-664).
func serveDescribeTransactions(b *Broker, q *edge.Request, m *wire.DescribeTransactionsRequest, answer func(*wire.DescribeTransactionsResponse)) {
	may, mayNot := part(b.rights, q, acl.Describe, acl.TransactionalID, m.TransactionalIDs, func(id *string) string { return *id })
	m.TransactionalIDs = may
	b.transactions.DescribeTransactions(m, client(q), q.Version, func(resp *wire.DescribeTransactionsResponse) {
		for i := range resp.TransactionStates {
			s := &resp.TransactionStates[i]
			s.Topics, _ = part(b.rights, q, acl.Describe, acl.Topic, s.Topics, func(t *wire.DescribeTransactionsResponseTopicData) string { return t.Topic })
		}
		for _, id := range mayNot {
			s := wire.DescribeTransactionsResponseTransactionState{}
			s.SetDefaults()
			s.TransactionalID, s.ErrorCode = id, wire.TransactionalIDAuthorizationFailed
			resp.TransactionStates = append(resp.TransactionStates, s)
		}
		answer(resp)
	})
}

// serveListTransactions lists transactional ids (KIP-664), from version 2 on by a pattern (KIP-1152).
func serveListTransactions(b *Broker, q *edge.Request, m *wire.ListTransactionsRequest) *wire.ListTransactionsResponse {
	out := &wire.ListTransactionsResponse{}
	f := txn.Filter{ProducerIDs: m.ProducerIDFilters, RunningMs: -1}
	if q.Version >= 1 {
		f.RunningMs = m.DurationFilter
	}
	if m.TransactionalIDPattern != nil && *m.TransactionalIDPattern != "" {
		pattern, err := regexp.Compile("^(?:" + *m.TransactionalIDPattern + ")$")
		if err != nil {
			out.ErrorCode = wire.InvalidRegularExpression
			return out
		}
		f.Pattern = pattern
	}
	for _, name := range m.StateFilters {
		s, ok := txn.ParseState(name)
		if !ok {
			if !slices.Contains(out.UnknownStateFilters, name) {
				out.UnknownStateFilters = append(out.UnknownStateFilters, name)
			}
			continue
		}
		f.States = append(f.States, s)
	}
	if len(m.StateFilters) > 0 && len(f.States) == 0 {
		return out // states that nobody is in
	}
	out.TransactionStates, out.ErrorCode = b.transactions.List(&f)
	if b.authorizer != nil {
		out.TransactionStates = slices.DeleteFunc(out.TransactionStates, func(s wire.ListTransactionsResponseTransactionState) bool {
			return !b.visible(q, acl.Describe, acl.TransactionalID, s.TransactionalID)
		})
	}
	return out
}
