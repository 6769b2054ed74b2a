package txn

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// TestScripts plays testdata. Each line is a call of the machine; what it wrote stays under way until `settle`.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		d := newDriver(VersionBump)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			d.out.Reset()
			for line := range strings.Lines(td.Input) {
				if line = strings.TrimSpace(line); line != "" {
					d.line(line)
				}
			}
			return d.out.String()
		})
		if diff := d.compareReplay(); diff != "" {
			t.Fatal(diff)
		}
	})
}

// driver runs a machine with a log in memory.
type driver struct {
	machine *Machine
	level   int16
	now     Time
	fx      Effects
	flying  []group.Write
	log     []group.Entry
	out     strings.Builder
	fresh   int64
}

func newDriver(level int16) *driver {
	d := &driver{level: level, now: Time{Wall: 1_000_000, Mono: 1_000}, fresh: 1_000}
	d.load()
	return d
}

// load is what a new coordinator does: what was under way is lost.
func (d *driver) load() {
	d.machine, d.flying = New(DefaultConfig()), nil
	d.machine.SetVersion(d.level)
	for i := range d.log {
		if _, err := d.machine.Apply(&d.log[i]); err != nil {
			panic(err)
		}
	}
	d.machine.Loaded(d.now, &d.fx)
	d.absorb()
}

// absorb notes what the machine wants.
func (d *driver) absorb() {
	for _, w := range d.fx.Writes {
		for _, r := range w.Records {
			var key wire.TransactionLogKey
			key.Decode(wire.NewReader(r.Key[2:]), 0)
			if r.Value == nil {
				fmt.Fprintf(&d.out, "  write %s: tombstone\n", key.TransactionalID)
				continue
			}
			var v wire.TransactionLogValue
			version, err := wire.DecodeValue(r.Value, &v)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(&d.out, "  write %s: v%d %v\n", key.TransactionalID, version, describe(&v))
		}
		d.flying = append(d.flying, w)
	}
	for i := range d.fx.Markers {
		m := &d.fx.Markers[i]
		fmt.Fprintf(&d.out, "  markers %s: %d/%d commit=%v version=%d %v\n", m.TransactionalID, m.ProducerID, m.Epoch, m.Commit, m.Version, names(m.Partitions))
	}
	for _, e := range d.fx.Events {
		fmt.Fprintf(&d.out, "  event %s: %s: %s\n", e.Group, e.What, e.Reason)
	}
	d.fx.Reset()
}

func describe(v *wire.TransactionLogValue) string {
	var parts []string
	for _, t := range v.TransactionPartitions {
		for _, i := range t.PartitionIDs {
			parts = append(parts, fmt.Sprint(t.Topic, "-", i))
		}
	}
	return fmt.Sprintf("%v %d/%d previous=%d next=%d timeout=%d start=%d client=%d %v", State(v.TransactionStatus), v.ProducerID,
		v.ProducerEpoch, v.PreviousProducerID, v.NextProducerID, v.TransactionTimeoutMs, v.TransactionStartTimestampMs, v.ClientTransactionVersion, parts)
}

func names(list []Partition) []string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprint(p.Topic, "-", p.Index))
	}
	return out
}

// dump is what is recorded of every id, in order.
func (m *Machine) dump() string {
	var b strings.Builder
	for _, id := range m.ids() {
		v := m.txns[id].value()
		fmt.Fprintf(&b, "%s: %s\n", id, describe(&v))
	}
	return b.String()
}

// settle tells the outcome of the oldest write.
func (d *driver) settle() bool {
	if len(d.flying) == 0 {
		return false
	}
	w := d.flying[0]
	d.flying = d.flying[1:]
	for _, r := range w.Records {
		d.log = append(d.log, group.Entry{Offset: int64(len(d.log)), ProducerID: -1, Key: r.Key, Value: r.Value})
	}
	d.machine.Settle(d.now, w.ID, &d.fx)
	d.absorb()
	return true
}

// compareReplay says how the machine differs from one that has read the log.
func (d *driver) compareReplay() string {
	for d.settle() {
	}
	again := New(DefaultConfig())
	for i := range d.log {
		if _, err := again.Apply(&d.log[i]); err != nil {
			return err.Error()
		}
	}
	if live, replayed := d.machine.dump(), again.dump(); live != replayed {
		return fmt.Sprintf("live:\n%sreplayed:\n%s", live, replayed)
	}
	return ""
}

type args map[string]string

func (a args) int(key string, or int64) int64 {
	if a[key] == "" {
		return or
	}
	n, err := strconv.ParseInt(a[key], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) producer(key string) Producer {
	id, epoch, ok := strings.Cut(a[key], "/")
	if !ok {
		return Producer{noProducer, noEpoch}
	}
	return Producer{args{"": id}.int("", 0), int16(args{"": epoch}.int("", 0))}
}

func (a args) parts() []Partition {
	var list []Partition
	for name := range strings.SplitSeq(a["parts"], ",") {
		if topic, index, ok := strings.Cut(name, "-"); ok {
			list = append(list, Partition{topic, int32(args{"": index}.int("", 0))})
		}
	}
	return list
}

func (d *driver) line(line string) {
	words := strings.Fields(line)
	a := args{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		a[k] = v
	}
	switch words[0] {
	case "init":
		p, code := d.init(&Init{TransactionalID: a["id"], TimeoutMs: int32(a.int("timeout", 60_000)), Expected: a.producer("expect"), Fresh: -1})
		fmt.Fprintf(&d.out, "%s: %d/%d %v\n", line, p.ID, p.Epoch, code)
	case "add":
		code := d.machine.AddPartitions(d.now, a["id"], a.producer("p"), a.parts(), &d.fx)
		fmt.Fprintf(&d.out, "%s: %v\n", line, code)
	case "verify":
		codes, code := d.machine.VerifyPartitions(a["id"], a.producer("p"), a.parts())
		fmt.Fprintf(&d.out, "%s: %v %v\n", line, code, codes)
	case "commit", "abort":
		p, code := d.end(&End{TransactionalID: a["id"], Producer: a.producer("p"), Commit: words[0] == "commit", Version: int16(a.int("v", 0)), Fresh: -1})
		fmt.Fprintf(&d.out, "%s: %d/%d %v\n", line, p.ID, p.Epoch, code)
	case "written":
		fmt.Fprintf(&d.out, "%s\n", line)
		d.machine.MarkersWritten(d.now, a["id"], a.producer("p"), a.parts(), &d.fx)
	case "settle":
		fmt.Fprintf(&d.out, "settle: %v\n", d.settle())
	case "advance":
		fmt.Fprintf(&d.out, "%s\n", line)
		ms := a.int("ms", 0)
		d.now.Wall, d.now.Mono = d.now.Wall+ms, d.now.Mono+ms
		d.machine.Expire(d.now, &d.fx)
	case "load":
		fmt.Fprintf(&d.out, "load\n")
		d.load()
	case "exhaust": // as after very many transactions
		t := d.machine.txns[a["id"]]
		v := t.value()
		v.ProducerEpoch = lastEpoch
		d.machine.record(t, &v, &d.fx)
	case "describe":
		s := d.machine.Describe(a["id"])
		fmt.Fprintf(&d.out, "%s: %v %s %d/%d timeout=%d start=%d %v\n", line, s.ErrorCode, s.TransactionState, s.ProducerID, s.ProducerEpoch,
			s.TransactionTimeoutMs, s.TransactionStartTimeMs, s.Topics)
	case "list":
		f := Filter{RunningMs: a.int("running", -1)}
		if s, ok := ParseState(a["state"]); ok {
			f.States = append(f.States, s)
		}
		fmt.Fprintf(&d.out, "%s: %v\n", line, d.machine.List(d.now, &f))
	default:
		panic("unknown command " + words[0])
	}
	d.absorb()
}

// init and end give the machine a producer id when it asks for one.
func (d *driver) init(in *Init) (Producer, wire.Code) {
	p, code := d.machine.InitProducerID(d.now, in, &d.fx)
	if code == NeedsProducerID {
		d.fresh++
		in.Fresh = d.fresh
		p, code = d.machine.InitProducerID(d.now, in, &d.fx)
	}
	return p, code
}

func (d *driver) end(in *End) (Producer, wire.Code) {
	p, code := d.machine.EndTxn(d.now, in, &d.fx)
	if code == NeedsProducerID {
		d.fresh++
		in.Fresh = d.fresh
		p, code = d.machine.EndTxn(d.now, in, &d.fx)
	}
	return p, code
}

func entryOf(key, value []byte) group.Entry {
	return group.Entry{ProducerID: -1, Key: key, Value: value}
}
