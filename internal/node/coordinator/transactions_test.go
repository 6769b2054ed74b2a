package coordinator

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/txn"
)

// txnRig is a transaction coordinator of one partition under a hand-driven clock. Markers wait to be settled.
type txnRig struct {
	t       *testing.T
	world   *clock.Hand
	txns    *Transactions
	log     *memoryLog
	ids     int64
	markers []*sentMarkers
}

// sentMarkers are markers on their way.
type sentMarkers struct {
	txn.Markers
	epoch int32
	at    time.Duration
	done  func([]txn.Partition)
}

func newTxnRig(t *testing.T) *txnRig {
	config := DefaultTransactionConfig()
	config.Partitions = 1
	r := &txnRig{t: t, world: clock.NewHand(1), log: &memoryLog{auto: true}}
	r.txns = NewTransactions(r.world, slog.New(slog.DiscardHandler), config, Surroundings{
		ProducerID: func(done func(int64, wire.Code)) {
			r.ids++
			done(1000+r.ids, wire.None)
		},
		WriteMarkers: func(m *txn.Markers, epoch int32, done func([]txn.Partition)) {
			r.markers = append(r.markers, &sentMarkers{*m, epoch, r.world.Mono(), done})
		},
	})
	r.txns.SetVersion(2)
	r.world.Advance(time.Second)
	return r
}

func (r *txnRig) elect(epoch int32) *txnRig {
	r.txns.Elect(0, epoch, r.log)
	r.world.Run()
	return r
}

func (r *txnRig) init(id string) *[]*wire.InitProducerIdResponse {
	return later(r.txns.InitProducerID, &wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1}, 5)
}

// begun takes an id over and begins a transaction on two partitions.
func (r *txnRig) begun(id string) txn.Producer {
	r.t.Helper()
	got := *r.init(id)
	if len(got) != 1 || got[0].ErrorCode != wire.None {
		r.t.Fatalf("init: %+v", got)
	}
	p := txn.Producer{ID: got[0].ProducerID, Epoch: got[0].ProducerEpoch}
	if codes := r.add(id, p); len(*codes) != 1 || (*codes)[0] != wire.None {
		r.t.Fatalf("add: %v", *codes)
	}
	return p
}

var twoPartitions = []txn.Partition{{Topic: "t", Index: 0}, {Topic: "t", Index: 1}}

func (r *txnRig) add(id string, p txn.Producer) *[]wire.Code {
	codes := new([]wire.Code)
	r.txns.AddPartitions(id, p, twoPartitions, nil, func(code wire.Code) { *codes = append(*codes, code) })
	return codes
}

func (r *txnRig) end(id string, p txn.Producer, commit bool, version int16) *[]*wire.EndTxnResponse {
	return later(r.txns.EndTxn, &wire.EndTxnRequest{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch, Committed: commit}, version)
}

// state is that of a transactional id.
func (r *txnRig) state(id string) string {
	r.t.Helper()
	d := await(r.t, r.txns.DescribeTransactions, &wire.DescribeTransactionsRequest{TransactionalIDs: []string{id}}, 0).TransactionStates[0]
	if d.ErrorCode != wire.None {
		return d.ErrorCode.String()
	}
	return fmt.Sprintf("%s %d", d.TransactionState, d.ProducerEpoch)
}

func (r *txnRig) want(id, state string) {
	r.t.Helper()
	if got := r.state(id); got != state {
		r.t.Fatalf("%s is %s, not %s", id, got, state)
	}
}

// next gives the markers that have been asked for since.
func (r *txnRig) next(n int) []*sentMarkers {
	r.t.Helper()
	if len(r.markers) != n {
		r.t.Fatalf("%d lists of markers, not %d", len(r.markers), n)
	}
	list := r.markers
	r.markers = nil
	return list
}

// TestMarkersAreRetried: what is not settled is tried again, later each time, and nothing else.
func TestMarkersAreRetried(t *testing.T) {
	r := newTxnRig(t).elect(3)
	p := r.begun("a")
	if got := *r.end("a", p, true, 5); len(got) != 1 || got[0].ErrorCode != wire.None || got[0].ProducerEpoch != p.Epoch+1 {
		t.Fatalf("%+v", got)
	}
	m := r.next(1)[0]
	if m.epoch != 3 || !m.Commit || m.Epoch != p.Epoch+1 || m.Version != 2 || len(m.Partitions) != 2 {
		t.Fatalf("%+v", m)
	}
	m.done(twoPartitions[:1])
	pause := markerRetry
	for range 8 {
		from := r.world.Mono()
		r.world.Advance(pause - time.Millisecond)
		r.next(0)
		r.world.Advance(time.Millisecond)
		m = r.next(1)[0]
		if len(m.Partitions) != 1 || m.Partitions[0] != twoPartitions[1] || m.at != from+pause {
			t.Fatalf("%+v", m)
		}
		r.want("a", "PrepareCommit 1")
		m.done(nil)
		pause = min(2*pause, markerRetryMax)
	}
	r.world.Advance(pause)
	r.next(1)[0].done(twoPartitions[1:])
	r.want("a", "CompleteCommit 1")
	r.world.Advance(time.Minute)
	r.next(0)
}

// TestWaitingRequests: who meets a transaction that is about to end waits for it, is heard in order and behind who came
// first, and loses patience.
func TestWaitingRequests(t *testing.T) {
	r := newTxnRig(t).elect(1)
	p := r.begun("a")
	r.end("a", p, true, 5)
	p.Epoch++
	m := r.next(1)[0]
	var order []int
	for i := range 3 {
		r.txns.AddPartitions("a", p, twoPartitions[:1+i%2], nil, func(code wire.Code) {
			if code != wire.None {
				t.Error(i, code)
			}
			order = append(order, i)
		})
	}
	r.world.Advance(patience / 2)
	m.done(twoPartitions)
	if !slices.Equal(order, []int{0, 1, 2}) {
		t.Fatal(order)
	}
	// One that begins a transaction is answered before those that it has wait.
	r.end("a", p, false, 5)
	p.Epoch++
	r.next(1)[0].done(twoPartitions)
	order, r.log.auto = nil, false
	for i := range 3 {
		r.txns.AddPartitions("a", p, twoPartitions, nil, func(wire.Code) { order = append(order, i) })
	}
	r.log.auto = true
	r.log.settle(nil)
	if !slices.Equal(order, []int{0, 1, 2}) {
		t.Fatal(order)
	}
	// Patience ends, and as many as may wait can wait again.
	r.end("a", p, false, 5)
	p.Epoch++
	m = r.next(1)[0]
	var answers [][]*[]wire.Code
	for range 2 {
		var list []*[]wire.Code
		for range maxPatient + 1 {
			list = append(list, r.add("a", p))
		}
		answers = append(answers, list)
		for i, codes := range list {
			if refused := len(*codes) == 1 && (*codes)[0] == wire.ConcurrentTransactions; refused != (i == maxPatient) {
				t.Fatal(i, *codes)
			}
		}
		r.world.Advance(patience)
		for i, codes := range list {
			if len(*codes) != 1 || (*codes)[0] != wire.ConcurrentTransactions {
				t.Fatal(i, *codes)
			}
		}
	}
	// Who waits when the broker stops leading is told so.
	codes := r.add("a", p)
	r.txns.Close()
	if len(*codes) != 1 || (*codes)[0] != wire.NotCoordinator {
		t.Fatal(*codes)
	}
	m.done(twoPartitions)
	r.world.Advance(time.Minute)
	r.next(0)
	if len(*codes) != 1 || len(*answers[0][0]) != 1 {
		t.Fatal("answered twice")
	}
}

// TestFailedTransactionRecord: a record that cannot be written rolls back; markers that are under way then are waited for
// before the partition is loaded anew, so that none of them comes behind the end of its transaction.
func TestFailedTransactionRecord(t *testing.T) {
	r := newTxnRig(t).elect(1)
	p := r.begun("a")
	other := r.begun("b")
	r.end("a", p, true, 3) // of the old protocol: the next transaction has the same epoch
	m := r.next(1)[0]
	m.done(twoPartitions[:1])
	r.world.Advance(markerRetry)
	m = r.next(1)[0] // under way
	r.log.auto = false
	ended := r.end("b", other, true, 3)
	waits := r.add("a", p)
	r.log.settle(wire.NotEnoughReplicas)
	if len(*ended) != 1 || (*ended)[0].ErrorCode != wire.CoordinatorNotAvailable || len(*waits) != 1 || (*waits)[0] != wire.CoordinatorLoadInProgress {
		t.Fatalf("%+v %v", *ended, *waits)
	}
	r.log.auto = true
	r.world.Advance(time.Minute)
	r.want("a", wire.CoordinatorLoadInProgress.String())
	m.done(nil)
	r.world.Run()
	r.want("b", "Ongoing 0")
	m = r.next(1)[0] // all of them again
	if len(m.Partitions) != 2 {
		t.Fatalf("%+v", m)
	}
	m.done(twoPartitions)
	r.want("a", "CompleteCommit 0")
	if codes := r.add("a", p); (*codes)[0] != wire.None {
		t.Fatal(*codes)
	}
	r.world.Advance(2 * time.Second)
	r.next(0) // no marker for the transaction that is open now
}

// TestTransactionsAreLoaded: what another coordinator has left is gone on with, in a higher epoch; one that leads on in a
// higher epoch forgets no markers.
func TestTransactionsAreLoaded(t *testing.T) {
	r := newTxnRig(t).elect(1)
	open, ending := r.begun("open"), r.begun("ending")
	r.end("ending", ending, false, 5)
	late := r.next(1)[0]
	r.txns.Resign(0)
	r.want("open", wire.NotCoordinator.String())
	r.log.readErr = nil
	r.log.max = 1 // a batch at a time
	r.elect(2)
	r.want("open", "Ongoing 0")
	r.want("ending", "PrepareAbort 1")
	m := r.next(1)[0]
	if m.epoch != 2 || m.Commit {
		t.Fatalf("%+v", m)
	}
	late.done(twoPartitions) // is not heard
	r.want("ending", "PrepareAbort 1")
	r.txns.Elect(0, 5, r.log)
	m.done(twoPartitions[:1])
	r.world.Advance(markerRetry)
	if m = r.next(1)[0]; m.epoch != 5 || len(m.Partitions) != 1 {
		t.Fatalf("%+v", m)
	}
	m.done(twoPartitions[1:])
	r.want("ending", "CompleteAbort 1")
	if got := *r.end("open", open, true, 5); len(got) != 1 || got[0].ErrorCode != wire.None {
		t.Fatalf("%+v", got)
	}
	r.next(1)[0].done(twoPartitions)
	// A transaction that takes too long is aborted, and its producer is fenced.
	p := r.begun("slow")
	r.world.Advance(75 * time.Second)
	m = r.next(1)[0]
	if m.TransactionalID != "slow" || m.Commit || m.Epoch != p.Epoch+1 {
		t.Fatalf("%+v", m)
	}
	m.done(twoPartitions)
	if codes := r.add("slow", p); (*codes)[0] != wire.ProducerFenced {
		t.Fatal(*codes)
	}
}

// TestAnnouncedAnew: who has waited for the markers of the last transaction announces its records again before it is
// decided on, and who has not does not.
func TestAnnouncedAnew(t *testing.T) {
	r := newTxnRig(t).elect(3)
	p := r.begun("a")
	r.end("a", p, true, 5)
	next := txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}
	var row []string
	r.txns.AddPartitions("a", next, twoPartitions, func() { row = append(row, "announced") }, func(code wire.Code) { row = append(row, code.String()) })
	r.txns.VerifyPartitions("a", next, twoPartitions, func() { row = append(row, "announced too") }, func(codes []wire.Code) { row = append(row, codes[0].String()) })
	if len(row) != 0 {
		t.Fatalf("%v before the markers are written", row)
	}
	m := r.next(1)[0]
	m.done(m.Partitions)
	r.txns.AddPartitions("a", next, twoPartitions[:1], func() { row = append(row, "not needed") }, func(code wire.Code) { row = append(row, code.String()) })
	if want := []string{"announced", "announced too", "NONE", "NONE", "NONE"}; !slices.Equal(row, want) {
		t.Errorf("%v, not %v", row, want)
	}
}
