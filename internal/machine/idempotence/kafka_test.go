package idempotence

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// history replays what testdata/Golden.java did with Kafka's log.
type history struct {
	table   Table
	guards  map[int64]Guard
	aborted []Completed
	next    int64
}

// fields reads numbers and booleans off an operation.
type fields []string

func (f fields) num(i int) int64 {
	n, err := strconv.ParseInt(f[i], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (f fields) yes(i int) bool { return f[i] == "true" }

// append assigns offsets, as a log does.
func (h *history) append(count int64) string {
	first := h.next
	h.next += count
	h.table.AdvanceTo(h.next)
	return fmt.Sprintf("accept %d-%d", first, h.next-1)
}

func (h *history) step(f fields) string {
	switch f[0] {
	case "plain":
		return h.append(f.num(1))
	case "hw":
		h.table.HighWatermarkMoved(f.num(1))
		return "ok"
	case "expire":
		h.table.Expire(f.num(1), 5000)
		return fmt.Sprint(h.table.Len())
	case "verify":
		a := Append{ProducerID: f.num(1), Epoch: int16(f.num(2)), FirstSequence: int32(f.num(3)), Transactional: true}
		// Kafka stamps verifications by the wall clock, so that none expires within the history.
		g, v := h.table.BeginVerification(&a, f.yes(4), math.MaxInt64)
		if v != Accept {
			return v.String()
		}
		h.guards[a.ProducerID] = g
		return map[bool]string{true: "none", false: "guard"}[g == NoGuard]
	case "marker":
		return h.marker(f)
	case "produce":
		return h.produce(f)
	}
	return "unknown operation " + f[0]
}

func (h *history) produce(f fields) string {
	count := f.num(4)
	a := Append{
		ProducerID: f.num(1), Epoch: int16(f.num(2)), FirstSequence: int32(f.num(3)), Transactional: f.yes(5), MaxTimestamp: f.num(7),
	}
	a.LastSequence = int32((f.num(3) + count - 1) & math.MaxInt32)
	origin, guard := Client, NoGuard
	if f[8] == "coordinator" {
		origin = Coordinator
	}
	if f[6] == "guard" {
		guard = h.guards[a.ProducerID]
	}
	v, old := h.table.Check(&a, origin, guard)
	switch v {
	case Duplicate:
		return fmt.Sprintf("duplicate %d-%d", old.FirstOffset, old.LastOffset)
	case Accept:
		a.FirstOffset, a.LastOffset = h.next, h.next+count-1
		h.table.Apply(&a)
		return h.append(count)
	default:
		return v.String()
	}
}

func (h *history) marker(f fields) string {
	m := Marker{
		ProducerID: f.num(1), Epoch: int16(f.num(2)), CoordinatorEpoch: int32(f.num(3)), Commit: f.yes(4),
		TransactionVersion: int16(f.num(5)), Timestamp: f.num(6), Offset: h.next,
	}
	if v := h.table.CheckMarker(&m); v != Accept {
		return v.String()
	}
	if done, ok := h.table.ApplyMarker(&m); ok && done.Aborted {
		h.aborted = append(h.aborted, done)
	}
	return h.append(1)
}

func (h *history) unstable() string {
	if offset, ok := h.table.FirstUnstableOffset(); ok {
		return fmt.Sprint(" unstable=", offset)
	}
	return " unstable=-"
}

// ending is the state that Golden.java prints at last, but for the snapshot.
func (h *history) ending() (lines []string) {
	for _, p := range h.table.Producers() {
		lines = append(lines, fmt.Sprintf("producer %d %d %d %d %d %d",
			p.ID, p.Epoch, p.LastSequence, p.LastTimestamp, p.CoordinatorEpoch, p.TxnFirstOffset))
	}
	slices.SortFunc(h.aborted, func(a, b Completed) int { return int(a.LastOffset - b.LastOffset) })
	for _, a := range h.aborted {
		lines = append(lines, fmt.Sprintf("aborted %d %d %d %d", a.ProducerID, a.FirstOffset, a.LastOffset, a.LastStableOffset))
	}
	return lines
}

// sortedEntries makes snapshots comparable: Kafka writes the producers in the order of a hash map.
func sortedEntries(snapshot []byte) [][]byte {
	out := slices.Collect(slices.Chunk(snapshot[snapshotHeader:], snapshotEntry))
	slices.SortFunc(out, bytes.Compare)
	return out
}

func TestKafkaJudgesTheSame(t *testing.T) {
	files, err := filepath.Glob("testdata/kafka-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			replayHistory(t, strings.Split(strings.TrimSpace(string(text)), "\n"))
		})
	}
}

func replayHistory(t *testing.T, lines []string) {
	h := history{guards: map[int64]Guard{}}
	var ending []string
	for i, line := range lines {
		op, want, isStep := strings.Cut(line, " => ")
		if !isStep {
			ending = append(ending, line)
			continue
		}
		if got := h.step(strings.Fields(op)) + h.unstable(); got != want {
			t.Fatalf("line %d: %s\nKafka: %s\nMoldau: %s", i+1, op, want, got)
		}
	}
	last := strings.Fields(ending[len(ending)-1])
	if got, want := h.ending(), ending[:len(ending)-1]; !slices.Equal(got, want) {
		t.Fatalf("want\n%s\ngot\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
	kafkas, err := hex.DecodeString(last[2])
	if err != nil || last[1] != fmt.Sprint(h.table.EndOffset()) {
		t.Fatal(err, last[1], h.table.EndOffset())
	}
	ours := h.table.AppendSnapshot(nil)
	if !slices.EqualFunc(sortedEntries(ours), sortedEntries(kafkas), bytes.Equal) {
		t.Fatalf("snapshots differ:\n%x\n%x", kafkas, ours)
	}
	var restored Table
	if err := restored.Restore(kafkas, h.table.EndOffset()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(restored.Producers(), h.table.Producers()) {
		t.Fatal("restored producers differ")
	}
	if again := restored.AppendSnapshot(nil); !bytes.Equal(again, kafkas) {
		t.Fatalf("the snapshot changes on its way through the table:\n%x\n%x", kafkas, again)
	}
}
