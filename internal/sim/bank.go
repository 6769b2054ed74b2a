package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/sim/isolation"
)

// BankResult is what one run of bank transfers did.
type BankResult struct {
	Ends
	// Committed and Aborted count transactions whose end was acknowledged, Doubtful those of which the client could not know.
	Committed, Aborted, Doubtful int
	// Fenced counts the times that a client found out that another one has its transactional id.
	Fenced int
	// Cleaned counts offsets that compaction has passed, TimedOut requests that clients gave up.
	Cleaned  int64
	TimedOut int
	// Anomalies are what the checker found.
	Anomalies []string
}

// Add adds what another run did.
func (r *BankResult) Add(o BankResult) {
	r.add(o.Ends)
	r.Committed, r.Aborted, r.Doubtful = r.Committed+o.Committed, r.Aborted+o.Aborted, r.Doubtful+o.Doubtful
	r.Fenced, r.Cleaned, r.TimedOut = r.Fenced+o.Fenced, r.Cleaned+o.Cleaned, r.TimedOut+o.TimedOut
	r.Anomalies = append(r.Anomalies, o.Anomalies...)
}

// BankOptions are the kinds of runs.
type BankOptions struct {
	// Slow has requests arrive late: each connection keeps its order, but clients give requests up, connect again and
	// repeat them, and what they gave up arrives after that. Nodes do not die then.
	Slow bool
	// Classic has all clients speak the protocol in which a producer keeps its epoch (transaction.version below 2).
	Classic bool
}

// Shape of a run of bank transfers.
const (
	bankOwners   = 2 // each is a transactional id, with accounts that only it may change
	bankEach     = 4 // accounts of each owner
	bankAccounts = bankOwners * bankEach
	bankParts    = 3 // partitions
	bankTellers  = 2 // clients of each owner: all but one are zombies
	bankDeposit  = 100
	bankSteps    = 500
	bankTopic    = "accounts"
	bankTimeout  = 10 * time.Second
	bankPatience = 500 * time.Millisecond // of a client for an answer, when requests are slow
)

func accountKey(account int) string { return string(rune('a' + account)) }

func accountPart(account int) int32 { return int32(account % bankParts) }

// bankRun is one seed's life: tellers read the accounts of their owner, move money between them, look at others, and
// commit, abort, stall or die at any point. Money is neither made nor lost, and the history has no anomaly.
type bankRun struct {
	*Rig
	rng     *rand.Rand
	options BankOptions
	tellers []*teller
	// auditor reads committed data, spy all.
	auditor, spy *passbook
	history      isolation.History
	offsets      map[int]bool // transactions that commit an offset
	now          int64
	result       BankResult
}

// RunBank plays one seed. With anomalies there is no error: they are in the result.
func RunBank(rig *Rig, options BankOptions) (BankResult, error) {
	r := &bankRun{Rig: rig, rng: rand.New(rand.NewPCG(rig.seed, 1873)), options: options, offsets: map[int]bool{}}
	r.setAll("log.cleaner.backoff.ms", "300")
	for owner := range bankOwners {
		for i := range bankTellers {
			r.tellers = append(r.tellers, &teller{
				passbook: passbook{port: r.port(), r: r, committed: true},
				name:     fmt.Sprintf("teller %d of bank %d", i, owner), owner: owner, bump: !options.Classic && r.rng.IntN(2) == 0,
				apart: r.rng.IntN(2) == 0, data: r.port(), groups: r.port(),
			})
		}
	}
	r.auditor, r.spy = &passbook{port: r.port(), r: r, committed: true}, &passbook{port: r.port(), r: r}
	err := rig.play(r.live, r.finish)
	return r.result, err
}

func (r *bankRun) port() port {
	p := port{rig: r.Rig}
	if r.options.Slow {
		p.lag, p.patience = r.lag, bankPatience
	}
	return p
}

// lag is how long a request is under way.
func (r *bankRun) lag() time.Duration {
	if r.rng.IntN(6) > 0 {
		return 0
	}
	return time.Duration(r.rng.Int64N(int64(4 * bankPatience)))
}

// tick is a clock that all clients have in common.
func (r *bankRun) tick() int64 {
	r.now++
	return r.now
}

func (r *bankRun) wrong(format string, args ...any) {
	r.result.Anomalies = append(r.result.Anomalies, fmt.Sprintf("seed %d: ", r.seed)+fmt.Sprintf(format, args...))
}

func (r *bankRun) live(life int) error {
	if life == 0 || !r.options.Slow {
		r.disk.CutAt(0)
		if err := r.Boot(); err != nil {
			return err
		}
	}
	if life == 0 {
		if err := r.create(); err != nil {
			return err
		}
	}
	for _, t := range r.tellers {
		t.reborn(life > 0 && r.rng.IntN(3) == 0)
	}
	for _, l := range []*passbook{r.auditor, r.spy} {
		l.reset()
		if life == 0 || r.rng.IntN(2) == 0 {
			l.restart()
		}
	}
	planned := !r.options.Slow && r.rng.IntN(3) == 0
	if planned {
		r.disk.CutAt(1 + r.rng.Int64N(800))
	}
	for range bankSteps {
		if err := r.step(); err != nil {
			return err
		}
	}
	if !planned && !r.options.Slow && r.rng.IntN(2) == 0 {
		if err := r.untilEnding(); err != nil {
			return err
		}
	}
	if !r.options.Slow {
		r.end(&r.result.Ends, planned || r.rng.IntN(2) == 0)
	}
	return nil
}

// untilEnding goes on until the end of a transaction is asked for, so that the node dies in the middle of it: before, between or
// inside the next operations of the disk.
func (r *bankRun) untilEnding() error {
	for range bankSteps {
		t := r.tellers[r.rng.IntN(len(r.tellers))]
		if err := t.step(); err != nil {
			return err
		}
		if t.busy && t.duty == dutyEnd {
			r.disk.CutAt(1 + r.rng.Int64N(8))
			for range r.rng.IntN(4) {
				r.hand.RunOne()
			}
			return nil
		}
		if err := r.step(); err != nil {
			return err
		}
	}
	return nil
}

// step lets somebody do something, or time pass.
func (r *bankRun) step() error {
	var failed error
	switch who := r.rng.IntN(12); {
	case who < len(r.tellers):
		t := r.tellers[who]
		if r.options.Slow {
			t = r.tellers[who/bankTellers*bankTellers] // the others would only fence it
		}
		failed = t.step()
	case who == len(r.tellers):
		failed = r.audit(r.auditor)
	case who == len(r.tellers)+1:
		failed = r.audit(r.spy)
	}
	if failed != nil {
		return failed
	}
	if !r.hand.RunOne() && r.rng.IntN(3) == 0 {
		r.hand.Advance(time.Duration(r.rng.Int64N(int64(30 * time.Millisecond))))
	}
	if r.rng.IntN(250) == 0 && !r.options.Slow {
		r.hand.Advance(time.Duration(r.rng.Int64N(int64(2 * bankTimeout)))) // transactions time out
	}
	return nil
}

// audit has a reader look at all accounts, and read on.
func (r *bankRun) audit(l *passbook) error {
	if l.busy {
		return nil
	}
	if r.rng.IntN(4) == 0 {
		t := r.history.Begin("reader")
		t.Outcome, t.Uncommitted = isolation.Committed, !l.committed
		for account := range bankAccounts {
			t.Reads = append(t.Reads, l.read(account, false))
		}
	}
	if r.rng.IntN(40) == 0 {
		l.restart()
	}
	var failed error
	l.poll(func(err error) {
		if err != nil && !errors.Is(err, errNoAnswer) {
			failed = err
		}
	})
	return failed
}

func (r *bankRun) create() error {
	_, err := r.createTopic(bankTopic, bankParts, "cleanup.policy", "compact", "internal.segment.bytes", "3000",
		"min.cleanable.dirty.ratio", "0.01", "file.delete.delay.ms", "100", "delete.retention.ms", "60000")
	if err != nil {
		return err
	}
	for _, kind := range []int8{0, 1} {
		if err := r.findCoordinator(kind, "any"); err != nil {
			return err
		}
	}
	return nil
}

// finish boots a last time, lets open transactions time out, and checks.
func (r *bankRun) finish() error {
	if !r.options.Slow {
		r.disk.CutAt(0)
		if err := r.Boot(); err != nil {
			return err
		}
	}
	for range 40 {
		r.hand.Advance(time.Second)
		r.until(func() bool { return !r.hand.RunOne() })
	}
	for _, t := range r.tellers {
		t.reborn(false)
	}
	for _, l := range []*passbook{r.auditor, r.spy} {
		l.lag = nil
		if err := l.readAll(); err != nil {
			return err
		}
		t := r.history.Begin("last reader")
		t.Outcome, t.Uncommitted = isolation.Committed, !l.committed
		for account := range bankAccounts {
			t.Reads = append(t.Reads, l.read(account, true))
		}
	}
	for owner := range bankOwners {
		if sum := r.auditor.sum(owner); sum != bankEach*bankDeposit {
			r.wrong("bank %d has %d in the end", owner, sum)
		}
	}
	for _, a := range r.history.Check() {
		r.wrong("%v", a)
	}
	r.result.Cleaned = r.cleanedUpTo(bankTopic)
	for _, t := range r.history.Txns {
		if len(t.Writes) == 0 {
			continue
		}
		switch t.Outcome {
		case isolation.Committed:
			r.result.Committed++
		case isolation.Aborted:
			r.result.Aborted++
		default:
			r.result.Doubtful++
		}
	}
	return r.Stop()
}

// sum is what an owner's accounts hold together.
func (l *passbook) sum(owner int) (sum int64) {
	for i := range bankEach {
		sum += l.accounts[owner*bankEach+i].balance
	}
	return sum
}

// lastTxn is the latest transaction that changed an owner's accounts, 0 for none.
func (l *passbook) lastTxn(owner int) (last int) {
	for i := range bankEach {
		last = max(last, l.accounts[owner*bankEach+i].version.Txn)
	}
	return last
}

// bankOffset asks for the position that the owner's last transaction has committed.
func bankOffset(owner int) *wire.OffsetFetchRequest {
	return &wire.OffsetFetchRequest{RequireStable: true, Groups: []wire.OffsetFetchRequestGroup{{
		GroupID: bankGroup(owner), MemberEpoch: -1,
		Topics: []wire.OffsetFetchRequestTopics{{Name: bankTopic, PartitionIndexes: []int32{0}}},
	}}}
}

func bankGroup(owner int) string { return fmt.Sprint("bank-", owner) }
