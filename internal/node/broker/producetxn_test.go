package broker

import "testing"

// TestProduceTurns: who comes while another of its producer waits for the coordinator goes behind it, and nothing is kept
// of those who have gone.
func TestProduceTurns(t *testing.T) {
	var turns produceTurns
	ops := [3]*produce{{}, {}, {}}
	if turns.queue(1, ops[0]) {
		t.Fatal("waits for nobody")
	}
	turns.begin(1)
	if turns.queue(2, ops[0]) {
		t.Fatal("waits for another producer")
	}
	for _, op := range ops {
		if !turns.queue(1, op) {
			t.Fatal("overtakes")
		}
	}
	for i, op := range ops {
		if turns.next(1) != op {
			t.Fatal("out of order:", i)
		}
		turns.begin(1) // it waits, too
	}
	if turns.next(1) != nil || turns.busy.Load() != 0 || len(turns.waiting) != 0 {
		t.Fatal("something is kept:", turns.busy.Load(), turns.waiting)
	}
}
