package partition

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts plays testdata. Each script runs twice: the same inputs give the same outputs.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		for range 2 {
			d := newDriver()
			datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
				d.out.Reset()
				for _, line := range strings.Split(td.Input, "\n") {
					if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
						continue
					}
					if err := d.line(line); err != nil {
						td.Fatalf(t, "%s: %v", line, err)
					}
					check(t, d.p)
				}
				return d.out.String()
			})
		}
	})
}

// driver turns lines into calls.
type driver struct {
	out    strings.Builder
	p      *Partition
	limits Limits
	now    int64
	log    []Batch
	abort  []Aborted
	hold   bool
	writes []*Write
}

func newDriver() *driver {
	d := &driver{limits: Limits{MaxInFlight: 100, MaxDeliveries: 5, LockMs: 1000, Renew: true}}
	d.p, _ = Load(0, nil)
	return d
}

func (d *driver) printf(format string, args ...any) { fmt.Fprintf(&d.out, format+"\n", args...) }

// parseRange reads "3", "3-5".
func parseRange(s string) (Range, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return Range{}, err
	}
	b, err := strconv.ParseInt(last, 10, 64)
	return Range{a, b}, err
}

var stateNames = map[string]State{"available": Available, "acquired": Acquired, "acknowledged": Acknowledged, "archived": Archived}

var typeNames = map[string]int8{"gap": Gap, "accept": Accept, "release": Release, "reject": Reject, "renew": Renew, "bad": 9}

func (d *driver) line(line string) error {
	words := strings.Fields(line)
	opts := map[string]string{}
	var plain []string
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			opts[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	number := func(key string, or int) int {
		if v, ok := opts[key]; ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				panic(err)
			}
			return n
		}
		return or
	}
	switch words[0] {
	case "load":
		return d.load(int64(number("start", 0)), plain)
	case "limits":
		d.limits.MaxInFlight = number("in-flight", d.limits.MaxInFlight)
		d.limits.MaxDeliveries = int16(number("deliveries", int(d.limits.MaxDeliveries)))
		d.limits.LockMs = int64(number("lock", int(d.limits.LockMs)))
		d.limits.Renew = opts["renew"] != "off"
	case "log":
		return d.setLog(plain)
	case "aborted":
		for _, w := range plain {
			id, first, _ := strings.Cut(w, "@")
			a, _ := strconv.ParseInt(id, 10, 64)
			b, _ := strconv.ParseInt(first, 10, 64)
			d.abort = append(d.abort, Aborted{a, b})
		}
	case "hold":
		d.hold = true
	case "acquire":
		d.acquire(plain[0], opts["mode"] == "limit", number("max", 500), number("size", 500))
	case "ack":
		return d.ack(plain[0], plain[1:])
	case "release":
		w := &Write{}
		d.p.ReleaseAll(plain[0], &d.limits, w)
		d.wrote(w)
	case "advance":
		d.now += int64(number("ms", 0))
		if due, ok := d.p.Due(); !ok || due > d.now {
			d.printf("nothing is due")
			return nil
		}
		w := &Write{}
		more := d.p.Expire(d.now, &d.limits, w)
		d.printf("more=%v", more)
		d.wrote(w)
	case "settle":
		ok := len(plain) == 0 || plain[0] != "failed"
		w := d.writes[0]
		d.writes = d.writes[1:]
		d.printf("settled more=%v", d.p.Settle(w, ok, d.now, &d.limits))
	case "log-start":
		n, _ := strconv.ParseInt(plain[0], 10, 64)
		d.p.MoveLogStart(n)
	case "show":
		d.show()
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (d *driver) load(start int64, words []string) error {
	var batches []StateBatch
	for _, w := range words {
		f := strings.Split(w, ":")
		r, err := parseRange(f[0])
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(f[2])
		state, ok := stateNames[f[1]]
		if !ok {
			state = 3
		}
		batches = append(batches, StateBatch{r, state, int16(n)})
	}
	p, err := Load(start, batches)
	if err != nil {
		d.printf("%v", err)
		return nil
	}
	d.p = p
	return nil
}

// setLog says what the log has: "0-9", "10-19:7" of producer 7 in a transaction, "20:7!" its abort marker.
func (d *driver) setLog(words []string) error {
	d.log, d.abort = nil, nil
	for _, w := range words {
		offsets, producer, txn := strings.Cut(w, ":")
		r, err := parseRange(offsets)
		if err != nil {
			return err
		}
		b := Batch{Range: r, ProducerID: -1}
		if txn {
			b.Transactional = true
			b.AbortMarker = strings.HasSuffix(producer, "!")
			b.ProducerID, _ = strconv.ParseInt(strings.TrimSuffix(producer, "!"), 10, 64)
		}
		d.log = append(d.log, b)
	}
	return nil
}

func (d *driver) acquire(member string, limit bool, n, size int) {
	if !d.p.CanAcquire(&d.limits) {
		d.printf("cannot acquire")
		return
	}
	a := Acquisition{Member: member, MaxRecords: n, BatchSize: size, Offset: d.p.NextFetch(), Now: d.now, Aborted: d.abort}
	if limit {
		a.Mode = RecordLimit
	}
	for i := range d.log {
		if d.log[i].Last >= a.Offset {
			a.Batches = append(a.Batches, d.log[i])
		}
	}
	got, count := d.p.Acquire(&a, &d.limits, nil)
	var b strings.Builder
	for _, g := range got {
		fmt.Fprintf(&b, " %d-%d x%d", g.First, g.Last, g.Count)
	}
	d.printf("from %d: %d records%s", a.Offset, count, b.String())
}

// ack reads "0-9:accept" and "0-2:accept,gap,release".
func (d *driver) ack(member string, words []string) error {
	var acks []Acknowledgement
	for _, w := range words {
		offsets, types, _ := strings.Cut(w, ":")
		r, err := parseRange(offsets)
		if err != nil {
			return err
		}
		a := Acknowledgement{Range: r}
		for _, t := range strings.Split(types, ",") {
			a.Types = append(a.Types, typeNames[t])
		}
		acks = append(acks, a)
	}
	w := &Write{}
	if refusal := d.p.Acknowledge(member, acks, d.now, &d.limits, w); refusal != Granted {
		d.printf("%v: %s", refusal.Code(), refusal.Why())
		return nil
	}
	d.wrote(w)
	return nil
}

// wrote tells what is to be persisted, which it is at once unless writes are held.
func (d *driver) wrote(w *Write) {
	if w.Empty() {
		d.printf("nothing to write")
		return
	}
	var b strings.Builder
	for _, s := range w.Batches {
		fmt.Fprintf(&b, " %d-%d:%s:%d", s.First, s.Last, s.State, s.Deliveries)
	}
	d.printf("write start=%d done=%d%s", w.Start, w.Done, b.String())
	if d.hold {
		d.writes = append(d.writes, w)
		return
	}
	d.p.Settle(w, true, d.now, &d.limits)
}

func (d *driver) show() {
	d.printf("start=%d next=%d fetch=%d in-flight=%d done=%d", d.p.Start(), d.p.next, d.p.NextFetch(), d.p.InFlight(), d.p.Delivered())
	for i := range d.p.batches {
		b := &d.p.batches[i]
		sep := "whole"
		if b.split() {
			sep = "split"
		}
		d.printf("  %d-%d %s", b.First, b.Last, sep)
		for j, runs := 0, b.all(); j < len(runs); j++ {
			r := &runs[j]
			line := fmt.Sprintf("    %d-%d %s x%d", r.First, r.Last, r.state, r.deliveries)
			if r.member != "" {
				line += " " + r.member
			}
			if r.deadline != noDeadline {
				line += fmt.Sprintf(" until %d", r.deadline)
			}
			if r.change != none {
				line += " unsettled"
			}
			d.printf("%s", line)
		}
	}
}

// check holds a partition against the invariants of the package.
func check(t interface{ Fatalf(string, ...any) }, p *Partition) {
	at := p.start
	for i := range p.batches {
		b := &p.batches[i]
		runs := b.all()
		if len(runs) == 0 || runs[0].First < at || b.First > b.Last || b.Last >= p.next || runs[len(runs)-1].Last != b.Last {
			t.Fatalf("batch %d of %+v is out of order after %d", i, p.batches, at)
		}
		if runs[0].First != max(b.First, p.start) {
			t.Fatalf("batch %d-%d begins at %d, start is %d", b.First, b.Last, runs[0].First, p.start)
		}
		for j := range runs {
			r := &runs[j]
			if j > 0 && runs[j-1].Last+1 != r.First || r.First > r.Last {
				t.Fatalf("runs of %d-%d are not contiguous: %+v", b.First, b.Last, runs)
			}
			if (r.state == Acquired || r.change != none) != (r.member != "") || (r.member != "") != (r.deadline != noDeadline) {
				t.Fatalf("run %+v is neither free nor somebody's", *r)
			}
		}
		at = b.Last + 1
	}
}
