package idempotence

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs testdata/script. Each line of a block is one operation:
//
//	plain COUNT                                                 batch without producer id
//	produce PID EPOCH SEQUENCE COUNT TXN GUARD TIME ORIGIN      Check, and Apply if accepted
//	verify PID EPOCH SEQUENCE SUPPORTS_EPOCH_BUMP               BeginVerification
//	marker PID EPOCH COORDINATOR_EPOCH COMMIT TXN_VERSION TIME  CheckMarker, ApplyMarker
//	hw OFFSET | logstart OFFSET | expire NOW | late NOW         the log moves on
//	reload                                                      state through a snapshot and back
//	producers                                                   the list
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		h := history{guards: map[int64]Guard{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for _, line := range strings.Split(d.Input, "\n") {
				result := h.stepScript(strings.Fields(line))
				if !strings.HasSuffix(result, "\n") {
					result += h.unstable() + "\n"
				}
				out.WriteString(result)
			}
			return out.String()
		})
	})
}

func (h *history) stepScript(f fields) string {
	switch f[0] {
	case "logstart":
		h.table.LogStartMoved(f.num(1))
		return "ok"
	case "late":
		return fmt.Sprint(h.table.HasLateTxn(f.num(1), 60_000))
	case "producers":
		var out strings.Builder
		for _, p := range h.table.Producers() {
			fmt.Fprintf(&out, "%+v\n", p)
		}
		return out.String() + "end\n"
	case "reload":
		snapshot := h.table.AppendSnapshot(nil)
		if err := h.table.Restore(snapshot, h.next); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d bytes", len(snapshot))
	}
	if f[0] == "produce" {
		a := Append{ProducerID: f.num(1), Epoch: int16(f.num(2)), FirstSequence: int32(f.num(3)), Transactional: f.yes(5)}
		explain := [...]string{
			h.table.Explain(&a, OutOfOrderSequence), h.table.Explain(&a, InvalidProducerEpoch), h.table.Explain(&a, InvalidTxnState),
		}
		result := h.step(f)
		for i, v := range []Verdict{OutOfOrderSequence, InvalidProducerEpoch, InvalidTxnState} {
			if result == v.String() {
				result += ": " + explain[i]
			}
		}
		return result
	}
	return h.step(f)
}

func TestCheckAndApplyDoNotAllocate(t *testing.T) {
	for _, producers := range []int64{1, scanned, 10_000} {
		var table Table
		for id := range producers {
			table.Apply(&Append{ProducerID: id, LastSequence: 0})
		}
		next := int32(1)
		if n := testing.AllocsPerRun(1000, func() {
			a := Append{ProducerID: producers / 2, FirstSequence: next, LastSequence: next + 4, FirstOffset: int64(next), LastOffset: int64(next) + 4}
			if v, _ := table.Check(&a, Client, NoGuard); v != Accept {
				t.Fatal(v)
			}
			table.Apply(&a)
			if v, _ := table.Check(&a, Client, NoGuard); v != Duplicate {
				t.Fatal(v)
			}
			next += 5
		}); n > 0 {
			t.Errorf("%d producers: %v allocations", producers, n)
		}
	}
}

func TestIndexAgreesWithScan(t *testing.T) {
	var table Table
	for id := range int64(1000) {
		table.Apply(&Append{ProducerID: id * 7, MaxTimestamp: id})
	}
	if n := table.Expire(1500, 1000); n != 501 || table.Len() != 499 {
		t.Fatal(n, table.Len())
	}
	for id := range int64(1000) {
		p := table.find(id * 7)
		if (p != nil) != (id > 500) || p != nil && p.id != id*7 {
			t.Fatal(id, p)
		}
	}
}

func TestDamagedSnapshots(t *testing.T) {
	var table Table
	for id := range int64(5) {
		table.Apply(&Append{ProducerID: id, LastOffset: id, FirstOffset: id, Transactional: id%2 == 0})
	}
	whole := table.AppendSnapshot(nil)
	for i := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[i] ^= 4
		if err := table.Restore(damaged, 5); err == nil || table.Len() != 0 || len(table.open) != 0 {
			t.Fatal(i, err)
		}
		if err := table.Restore(whole[:i], 5); err == nil {
			t.Fatal(i)
		}
	}
	if err := table.Restore(whole, 5); err != nil || table.Len() != 5 {
		t.Fatal(err)
	}
	if offset, ok := table.FirstUnstableOffset(); !ok || offset != 0 {
		t.Fatal(offset, ok)
	}
	if empty := new(Table).AppendSnapshot(nil); len(empty) != 10 {
		t.Fatal(len(empty))
	}
}

func FuzzRestore(f *testing.F) {
	var table Table
	table.Apply(&Append{ProducerID: 7, Transactional: true})
	table.Apply(&Append{ProducerID: 8, Epoch: 3, FirstSequence: math.MaxInt32, LastSequence: 1, LastOffset: 2})
	f.Add(table.AppendSnapshot(nil)[snapshotHeader:])
	f.Fuzz(func(t *testing.T, entries []byte) {
		_ = new(Table).Restore(entries, 0)
		// A whole snapshot around these entries, so that they are reached.
		n := len(entries) / snapshotEntry
		b := append(new(Table).AppendSnapshot(nil), entries[:n*snapshotEntry]...)
		sealSnapshot(b, n)
		var table Table
		if err := table.Restore(b, 0); err != nil {
			return
		}
		if table.Len() != n {
			t.Fatal(table.Len(), n)
		}
		var again Table
		if err := again.Restore(table.AppendSnapshot(nil), 0); err != nil || again.Len() != n {
			t.Fatal(err)
		}
	})
}

// TestGuardsEndWithTheirTable: a guard of a table that was made anew is void, also when another verification has begun.
func TestGuardsEndWithTheirTable(t *testing.T) {
	a := Append{ProducerID: 7, Transactional: true}
	var old, fresh Table
	guard, _ := old.BeginVerification(&a, true, 0)
	fresh.Succeed(&old)
	if again, _ := fresh.BeginVerification(&a, true, 0); again == guard {
		t.Fatalf("guard %d was given twice", guard)
	}
	if v, _ := fresh.Check(&a, Client, guard); v != InvalidTxnState {
		t.Errorf("an old guard: %v", v)
	}
}
