package broker

import (
	"errors"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// Bounds of one fetch.
const (
	// maxParkedPartitions bounds the partitions of all fetches that wait; beyond it a fetch is answered with what there is.
	maxParkedPartitions = 4_000_000
	// maxFetchPartitionsRead bounds how many partitions give data in one response; the others come with the next.
	maxFetchPartitionsRead = 10_000
)

// fetch is one Fetch request from its arrival to its answer. It is pooled.
//
// Data path: records are never copied here. The response is encoded without
// them, and each partition's records are spliced in by the edge: file regions
// by sendfile, the tail's memory by writev.
type fetch struct {
	b    *Broker
	q    *edge.Request
	req  wire.FetchRequest
	resp wire.FetchResponse

	session *fetchSession
	// full tells that every partition is answered, not only those with news.
	full bool
	// asked is the request's partitions when there is no session.
	asked []fetchPartition
	// list is the partitions to serve, in order: of a session those that may have something to tell.
	list  []*fetchPartition
	heard []*partition.Watch
	reads []fetchRead
	bytes int
	// head is how many bytes of the answer come before its body.
	head int
	// failed tells that a partition answers with an error: then nothing waits.
	failed bool
	judged judgement

	// mu is held while the fetch parks: who resumes it, even at once, waits
	// until park has left it alone.
	mu     sync.Mutex
	parked parkedFetch
	next   *fetch // in the queue of the resumers
}

// fetchRead is what one partition answers.
type fetchRead struct {
	p    *fetchPartition
	code wire.Code
	view commitlog.View

	highWatermark int64
	lastStable    int64
	logStart      int64
	diverging     bool
	cut           bool // the first batch is larger than what was asked for
	more          bool // there are records that found no room in the answer
	divergeEpoch  int32
	divergeEnd    int64
	// aborted is for readers of committed data only.
	aborted []commitlog.AbortedTxn
}

// judgement is what a reading of the partitions has learnt of the peer's rights: the last topic, and whether it may not read it.
// The next reading asks again, be it by the same request.
type judgement struct {
	asked  bool
	topic  string
	denied bool
}

// denied tells that the peer may not read the partition: consumers by their right on the topic, whoever calls itself a
// replica by that on the cluster alone.
func (op *fetch) denied(p *fetchPartition) bool {
	if op.b.authorizer == nil {
		return false
	}
	name := p.topic
	if p.part != nil {
		name = p.part.Topic
	} else if topic := op.b.table.ByID(p.id); topic != nil {
		name = topic.Name
	}
	j := &op.judged
	switch replica := op.req.ReplicaID >= 0 || op.req.ReplicaState.ReplicaID >= 0; {
	case replica && !j.asked:
		j.denied = !op.b.onCluster(op.q, acl.ClusterAction)
	case !replica && (!j.asked || j.topic != name):
		j.denied = !op.b.allowed(op.q, acl.Read, acl.Topic, name)
	}
	j.asked, j.topic = true, name
	return j.denied
}

// parkedFetch is a fetch that waits for data.
type parkedFetch struct {
	waiter *partition.Waiter
	timer  clock.Timer
}

func (b *Broker) takeFetch(q *edge.Request) *fetch {
	op, _ := b.fetches.Get().(*fetch)
	if op == nil {
		op = &fetch{b: b}
	}
	op.q = q
	return op
}

func (op *fetch) release() {
	if op.session != nil {
		op.unlist(op.list)
		op.b.sessions.release(op.session)
	}
	b := op.b
	clear(op.asked)
	clear(op.list)
	clear(op.reads)
	op.asked, op.list, op.reads = op.asked[:0], op.list[:0], op.reads[:0]
	op.q, op.session, op.full, op.failed, op.bytes, op.parked = nil, nil, false, false, 0, parkedFetch{}
	if max(cap(op.reads), cap(op.asked), cap(op.req.Topics), cap(op.req.ForgottenTopicsData), cap(op.list), cap(op.heard)) <= maxPooledPartitions {
		b.fetches.Put(op)
	}
}

// serveFetch answers at once when there is enough to read or the client does
// not want to wait, and parks otherwise.
func (b *Broker) serveFetch(q *edge.Request) {
	op := b.takeFetch(q)
	r := wire.NewReader(q.Body)
	op.req.Decode(r, q.Version)
	if err := r.Err(); err != nil {
		op.release()
		q.Hangup(malformed(q, err))
		return
	}
	op.req.MaxBytes = min(op.req.MaxBytes, b.maxFetchBytes, b.tolls.Load().fetchable(q))
	if b.authorizer != nil && b.side(q) == wire.OnController && !b.onCluster(q, acl.ClusterAction) {
		op.refuse(wire.ClusterAuthorizationFailed)
		return
	}
	if code := op.open(); code != wire.None {
		op.refuse(code)
		return
	}
	op.read()
	missing := int64(min(op.req.MinBytes, op.req.MaxBytes)) - int64(op.bytes)
	if op.failed || missing <= 0 || op.req.MaxWaitMs <= 0 || op.session == nil && (len(op.list) == 0 || !mayPark(b, len(op.list))) {
		op.answer()
		return
	}
	op.park(missing)
}

// open settles which partitions this fetch is about (KIP-227).
func (op *fetch) open() wire.Code {
	req, usesIDs := &op.req, op.q.Version >= 13
	switch {
	case req.SessionEpoch == -1 || req.SessionEpoch == 0:
		if req.SessionID != 0 {
			op.b.sessions.remove(req.SessionID)
		}
		op.full = true
		op.collect()
		if req.SessionEpoch == 0 && len(op.asked) > 0 && len(op.asked) <= maxSessionPartitions {
			op.begin(usesIDs)
		}
		if op.session == nil {
			for i := range op.asked {
				op.list = append(op.list, &op.asked[i])
			}
		}
		return wire.None
	default:
		s, code := op.b.sessions.acquire(req.SessionID, req.SessionEpoch, usesIDs)
		if code != wire.None {
			return code
		}
		op.session = s
		return op.update()
	}
}

// collect copies the partitions named in the request.
func (op *fetch) collect() {
	for i := range op.req.Topics {
		topic := &op.req.Topics[i]
		for j := range topic.Partitions {
			p := &topic.Partitions[j]
			op.asked = append(op.asked, fetchPartition{
				topic: topic.Topic, id: topic.TopicID, index: p.Partition,
				fetchOffset: p.FetchOffset, logStart: p.LogStartOffset,
				leaderEpoch: p.CurrentLeaderEpoch, lastFetchedEpoch: p.LastFetchedEpoch,
				maxBytes: p.PartitionMaxBytes,
			})
		}
	}
}

// begin turns a full fetch into a session's first, if there is room for one.
func (op *fetch) begin(usesIDs bool) {
	s := op.b.sessions.create(usesIDs, len(op.asked))
	if s == nil {
		return
	}
	op.session = s
	for i := range op.asked {
		s.put(&op.asked[i])
	}
	s.walks(rulesOf(op.b))
	op.ring()
}

// ring lists all of the session's partitions.
func (op *fetch) ring() {
	op.heard = op.session.news.Take(op.heard[:0])
	clear(op.heard)
	for p := op.session.root.next; p != &op.session.root; p = p.next {
		p.listed = true
		op.list = append(op.list, p)
	}
}

// hear lists those of the session's partitions that have news, and are not listed yet.
func (op *fetch) hear() {
	op.heard = op.session.news.Take(op.heard[:0])
	for _, w := range op.heard {
		if p, _ := w.Of.(*fetchPartition); p.next != nil && !p.listed {
			p.listed = true
			op.list = append(op.list, p)
		}
	}
	clear(op.heard)
}

// unlist takes back that the partitions are listed.
func (op *fetch) unlist(list []*fetchPartition) {
	for _, p := range list {
		p.listed = false
	}
}

// update applies an incremental request to its session.
func (op *fetch) update() wire.Code {
	op.collect()
	for i := range op.asked {
		if !op.session.put(&op.asked[i]) {
			return wire.InvalidRequest
		}
	}
	for i := range op.req.ForgottenTopicsData { // last: what is both asked for and forgotten is forgotten
		f := &op.req.ForgottenTopicsData[i]
		for _, index := range f.Partitions {
			op.session.forget(fetchKey{f.Topic, f.TopicID, index})
		}
	}
	if len(op.session.parts) == 0 {
		// Nothing is left to fetch: the session ends, and the answer without an id says so.
		op.b.sessions.release(op.session)
		op.session, op.full = nil, true
		return wire.None
	}
	if op.session.walks(rulesOf(op.b)) {
		op.ring()
	} else {
		op.hear()
	}
	return wire.None
}

// read reads every partition once, within the byte limits.
func (op *fetch) read() {
	op.dropReads()
	left := int(op.req.MaxBytes)
	op.bytes, op.failed, op.judged = 0, false, judgement{}
	for _, p := range op.list {
		rd := op.readOne(p, left, op.bytes == 0)
		op.reads = append(op.reads, rd)
		op.bytes += rd.view.Len
		left -= rd.view.Len
		op.failed = op.failed || rd.code != wire.None || rd.diverging
	}
}

func (op *fetch) dropReads() {
	for i := range op.reads {
		op.reads[i].view.Release()
	}
	clear(op.reads)
	op.reads = op.reads[:0]
}

// readOne reads one partition. minOne lets the first batch through even if it
// is larger than the limits, so that a consumer always gets on (KIP-74).
func (op *fetch) readOne(p *fetchPartition, left int, minOne bool) fetchRead {
	rd := fetchRead{p: p, highWatermark: -1, lastStable: -1, logStart: -1}
	if rd.code = op.find(p); rd.code != wire.UnknownTopicID && op.denied(p) {
		rd.code = wire.TopicAuthorizationFailed
	}
	if rd.code != wire.None {
		return rd
	}
	part := p.part
	if rd.code = part.CheckEpoch(p.leaderEpoch); rd.code != wire.None {
		return rd
	}
	o := part.Offsets()
	rd.highWatermark, rd.lastStable, rd.logStart = o.Stable, o.LastStable, o.Start
	if p.lastFetchedEpoch >= 0 && op.diverges(&rd) {
		if rd.divergeEpoch < 0 {
			return rd.outOfRange() // where that epoch ended is not known here
		}
		return rd
	}
	limit := rd.highWatermark
	if op.req.IsolationLevel == 1 {
		limit = rd.lastStable
	}
	if p.fetchOffset < rd.logStart || p.fetchOffset > o.End {
		return rd.outOfRange()
	}
	size := min(int(p.maxBytes), left)
	if p.fetchOffset >= limit {
		return rd
	}
	if rd.more = true; size <= 0 && !minOne || len(op.reads) >= maxFetchPartitionsRead {
		return rd
	}
	view, err := part.Log().Read(p.fetchOffset, limit, max(size, 0), minOne)
	if err != nil {
		return op.unread(rd, err)
	}
	if view.Len == 0 {
		rd.cut = true
		view.Release()
		return rd
	}
	rd.view = view
	if op.req.IsolationLevel == 1 {
		if rd.aborted, err = part.Log().AbortedTxns(p.fetchOffset, limit); err != nil {
			rd.view.Release()
			return op.unread(rd, err)
		}
	}
	return rd
}

// unread is what a partition answers whose log cannot be read.
func (op *fetch) unread(rd fetchRead, err error) fetchRead {
	rd.code = op.b.readCode(rd.p.part, rd.p.fetchOffset, err)
	rd.highWatermark, rd.lastStable, rd.logStart = -1, -1, -1
	return rd
}

func (rd fetchRead) outOfRange() fetchRead {
	return fetchRead{p: rd.p, code: wire.OffsetOutOfRange, highWatermark: -1, lastStable: -1, logStart: -1}
}

// find resolves the partition, which stays found until it is deleted.
func (op *fetch) find(p *fetchPartition) wire.Code {
	if p.part != nil && !p.part.Closed() {
		return wire.None
	}
	var topic *partition.Topic
	if op.q.Version >= 13 {
		if topic = op.b.table.ByID(p.id); topic == nil {
			return wire.UnknownTopicID
		}
	} else {
		topic = op.b.table.ByName(p.topic)
	}
	part := topic.Partition(p.index)
	if op.session != nil {
		op.session.find(p, part)
	}
	if p.part = part; part == nil {
		return wire.UnknownTopicOrPartition
	}
	return wire.None
}

// diverges compares what the reader has last fetched with our epochs (KIP-595).
func (op *fetch) diverges(rd *fetchRead) bool {
	epoch, end := rd.p.lastFetchedEpoch, rd.p.part.Log().End()
	if epoch != rd.p.part.LeaderEpoch() { // which may have no record yet
		epoch, end = rd.p.part.Log().EpochEnd(epoch)
	}
	if epoch < 0 || epoch < rd.p.lastFetchedEpoch || end < rd.p.fetchOffset {
		rd.diverging, rd.divergeEpoch, rd.divergeEnd = true, epoch, end
	}
	return rd.diverging
}

// readCode maps a failed read.
func (b *Broker) readCode(p *partition.Partition, offset int64, err error) wire.Code {
	if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
		return wire.OffsetOutOfRange
	}
	code, _ := appendCode(err)
	var corrupt *commitlog.CorruptError
	switch {
	case errors.As(err, &corrupt):
		code = wire.CorruptMessage // to wait would not help the reader
	case code == wire.UnknownServerError:
		code = wire.KafkaStorageError // a file could not be opened or read
	}
	b.logger.Error("a fetch could not read its records", "topic", p.Topic, "partition", p.Index, "offset", offset, "error", err)
	return code
}

// park waits until missing more bytes are there, the client's patience ends,
// or the client is gone.
//
// The waiter is registered before the second look at the partitions: what
// arrives between the first read and the registration is seen by that look,
// what arrives after it by the waiter. A session's News is both. The lock keeps whoever the waiter
// calls from touching this fetch before park is done with it.
func (op *fetch) park(missing int64) {
	b := op.b
	op.mu.Lock()
	defer op.mu.Unlock()
	w := partition.NewWaiter(missing, func() { b.resumers.add(b, op) })
	if op.session == nil {
		for _, p := range op.list {
			p.part.Wait(w)
		}
	}
	op.parked = parkedFetch{waiter: w, timer: b.world.AfterFunc(time.Duration(op.req.MaxWaitMs)*time.Millisecond, w.Fire)}
	op.q.Release() // nothing of the request refers to the frame
	op.q.OnCancel(w.Fire)
	if op.session != nil {
		op.settle()
		op.session.news.Await(w)
	} else if op.moved() {
		w.Fire()
	}
	op.dropReads()
}

// moved tells whether a partition has got something since it was read.
func (op *fetch) moved() bool {
	for i := range op.reads {
		rd := &op.reads[i]
		if o := rd.p.part.Offsets(); o.Stable != rd.highWatermark || o.LastStable != rd.lastStable {
			return true
		}
	}
	return false
}

// settle keeps those partitions of the list that will be looked at again without having news.
func (op *fetch) settle() {
	if op.full {
		return
	}
	kept := op.list[:0]
	for i := range op.reads {
		if rd := &op.reads[i]; rd.news() || rd.more {
			kept = append(kept, rd.p)
		} else {
			rd.p.listed = false
		}
	}
	clear(op.list[len(kept):])
	op.list = kept
}

// mayPark takes room for a fetch that waits, which resume gives back.
func mayPark(b *Broker, partitions int) bool {
	if b.parkedPartitions.Add(int64(partitions)) <= maxParkedPartitions {
		return true
	}
	b.parkedPartitions.Add(-int64(partitions))
	return false
}

// resume reads again and answers; it runs once.
func (op *fetch) resume() {
	op.mu.Lock()
	parked := op.parked
	op.mu.Unlock()
	parked.timer.Stop()
	if op.session != nil {
		op.session.news.Await(nil)
		op.hear()
	} else {
		op.b.parkedPartitions.Add(-int64(len(op.list)))
		for _, p := range op.list {
			p.part.Leave(parked.waiter)
		}
	}
	op.read()
	op.answer()
}

// resumers run the fetches that have what they waited for: one goroutine for a few of them, since to start one, and to
// wake a processor for it, costs more than an answer.
type resumers struct {
	mu         sync.Mutex // guards what follows, and the next of each fetch in the queue
	head, last *fetch
	queued     int
	running    int
}

// resumedTogether is how many fetches may wait for each goroutine that resumes.
const resumedTogether = 8

// add has a fetch resumed. Its bound is that of the connections: each parks one fetch at most.
func (r *resumers) add(b *Broker, op *fetch) {
	r.mu.Lock()
	if op.next = nil; r.last == nil {
		r.head = op
	} else {
		r.last.next = op
	}
	r.last = op
	r.queued++
	start := r.queued > r.running*resumedTogether
	if start {
		r.running++
	}
	r.mu.Unlock()
	if start {
		b.world.Go("fetch", r.run)
	}
}

func (r *resumers) run() {
	for op := r.take(); op != nil; op = r.take() {
		op.resume()
	}
}

// take gives the next fetch; nil ends the goroutine.
func (r *resumers) take() *fetch {
	r.mu.Lock()
	defer r.mu.Unlock()
	op := r.head
	if op == nil {
		r.running--
		return nil
	}
	if r.head = op.next; r.head == nil {
		r.last = nil
	}
	op.next = nil
	r.queued--
	return op
}

// refuse answers the whole fetch with one error.
func (op *fetch) refuse(code wire.Code) {
	op.b.figures.code(wire.KeyFetch, code)
	op.resp.SetDefaults()
	op.resp.ErrorCode = code
	q := op.q
	op.resp.ThrottleTimeMs = op.b.tolls.Load().throttle(q)
	resp := q.Begin()
	resp.Buf = op.resp.Append(resp.Buf, q.Version)
	op.release()
	q.Reply()
}

// news tells whether an incremental fetch must mention the partition.
func (rd *fetchRead) news() bool {
	return rd.view.Len > 0 || rd.code != wire.None || rd.diverging ||
		rd.highWatermark != rd.p.sentHighWatermark || rd.logStart != rd.p.sentLogStart
}

// answer encodes the response and hands the records over as parts.
func (op *fetch) answer() {
	op.count()
	q := op.q
	op.resp.ThrottleTimeMs, op.resp.ErrorCode, op.resp.SessionID = 0, wire.None, 0
	if op.session != nil {
		op.resp.SessionID = op.session.id
	}
	op.fill()
	resp := q.Begin()
	op.head = len(resp.Buf)
	next := 0
	resp.Buf = op.resp.AppendParts(resp.Buf, q.Version,
		func(int, int) int { n := op.reads[next].view.Len; next++; return n },
		func(_, _, at int) { op.addRecords(resp, at, &op.reads[next-1].view) })
	const lengthBytes = 4 // which Kafka counts, too
	if wait := op.b.tolls.Load().fetch(q, op.size(resp)+lengthBytes, false); wait > 0 {
		op.hold(wait)
		return
	}
	op.tell()
	op.release()
	q.Reply()
}

// size is the length of the answer's body.
func (op *fetch) size(resp *edge.Response) int {
	n := len(resp.Buf) - op.head
	for i := range op.reads {
		n += op.reads[i].view.Len
	}
	return n
}

// hold answers a client that has to wait: with nothing, and as if the session had not been looked at.
func (op *fetch) hold(wait int32) {
	q := op.q
	op.resp.ThrottleTimeMs, op.resp.Responses = wait, op.resp.Responses[:0]
	if op.full {
		op.resp.SessionID = 0
		if op.session != nil {
			op.b.sessions.remove(op.session.id)
		}
	} else {
		for _, p := range op.list {
			op.session.news.Add(&p.watch)
		}
	}
	resp := q.Begin()
	resp.Buf = op.resp.Append(resp.Buf, q.Version)
	op.release()
	q.Reply()
}

// addRecords puts a partition's records at their place in the answer, which
// owns them from now on.
func (op *fetch) addRecords(resp *edge.Response, at int, v *commitlog.View) {
	part := edge.Part{At: at, Mem: v.Mem, Done: v.Owner()}
	if v.File != nil {
		part.File, part.Off, part.Len = v.File, v.Pos, v.Len
	}
	resp.Parts = append(resp.Parts, part)
}

// fill makes the response's topics of those reads that are news, and drops the others.
func (op *fetch) fill() {
	kept := op.reads[:0]
	topics := 0
	for i := range op.reads {
		rd := op.reads[i]
		if op.session != nil && rd.view.Len == 0 && (rd.more || rd.code != wire.None || rd.diverging) {
			op.session.news.Add(&rd.p.watch) // before those that gave something
		}
		if !op.full && !rd.news() {
			continue
		}
		kept = append(kept, rd)
		if topics == 0 || !op.sameTopic(&op.resp.Responses[topics-1], rd.p) {
			topics++
			op.resp.Responses = grow(op.resp.Responses, topics)
			t := &op.resp.Responses[topics-1]
			t.Topic, t.TopicID, t.Partitions = rd.p.topic, rd.p.id, t.Partitions[:0]
		}
		t := &op.resp.Responses[topics-1]
		t.Partitions = grow(t.Partitions, len(t.Partitions)+1)
		rd.encode(&t.Partitions[len(t.Partitions)-1], op.req.IsolationLevel)
	}
	clear(op.reads[len(kept):])
	op.reads, op.resp.Responses = kept, op.resp.Responses[:topics]
}

func (op *fetch) sameTopic(t *wire.FetchResponseFetchableTopicResponse, p *fetchPartition) bool {
	return t.TopicID == p.id && t.Topic == p.topic
}

// tell notes in the session what the answer tells its client.
func (op *fetch) tell() {
	if op.session == nil {
		return
	}
	for i := range op.reads {
		op.told(&op.reads[i])
	}
}

// told remembers what the session's client now knows; a partition that gave
// data goes to the end of the ring, but for the session's first answer.
func (op *fetch) told(rd *fetchRead) {
	rd.p.sentHighWatermark, rd.p.sentLogStart = rd.highWatermark, rd.logStart
	if rd.code != wire.None {
		rd.p.sentHighWatermark = -2
	}
	if rd.view.Len == 0 {
		return
	}
	op.session.news.Add(&rd.p.watch) // unless the client goes on, or forgets it, it is answered again
	if !op.full {
		unlink(rd.p)
		op.session.pushBack(rd.p)
	}
}

func (rd *fetchRead) encode(out *wire.FetchResponsePartitionData, isolation int8) {
	aborted := out.AbortedTransactions[:0]
	out.SetDefaults()
	out.PartitionIndex, out.ErrorCode = rd.p.index, rd.code
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = rd.highWatermark, rd.lastStable, rd.logStart
	out.PreferredReadReplica = -1
	out.AbortedTransactions = nil
	switch rd.code {
	case wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.TopicAuthorizationFailed:
		out.AbortedTransactions = []wire.FetchResponseAbortedTransaction{} // as Kafka, which has not looked for any
	}
	if isolation == 1 && rd.code == wire.None && !rd.diverging && !rd.cut {
		for i := range rd.aborted {
			aborted = append(aborted, wire.FetchResponseAbortedTransaction{ProducerID: rd.aborted[i].ProducerID, FirstOffset: rd.aborted[i].FirstOffset})
		}
		if out.AbortedTransactions = aborted; aborted == nil {
			out.AbortedTransactions = []wire.FetchResponseAbortedTransaction{} // null is for those who did not ask
		}
	}
	if rd.diverging {
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = rd.divergeEpoch, rd.divergeEnd
	}
}
