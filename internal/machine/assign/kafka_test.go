package assign

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// testdata/kafka.txt has what the assignors of Apache Kafka 4.3.1 gave for random groups that grow, shrink and change,
// with ids chosen so that its hash tables iterate in ascending order. A line is
//
//	member ID INSTANCE SUBSCRIBED | OWNED | RESULT
//	worker ID PROCESS | ACTIVE | STANDBY | ACTIVE RESULT | STANDBY RESULT
func TestAsKafka(t *testing.T) {
	text, err := os.ReadFile("testdata/kafka.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for c := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		lines := strings.Split(c, "\n")
		if head := strings.Fields(lines[0]); head[1] == "sticky" {
			checkSticky(t, int(number(head[2])), lines[1:], c)
		} else {
			checkAssignor(t, head[1], lines[1:], c)
		}
		n++
	}
	if n < 100 {
		t.Fatalf("only %d cases", n)
	}
}

func number(s string) int32 {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return int32(n)
}

func numbers(s string) (out []int32) {
	if s == "-" {
		return nil
	}
	for f := range strings.SplitSeq(s, ",") {
		out = append(out, number(f))
	}
	return out
}

func checkAssignor(t *testing.T, name string, lines []string, text string) {
	var topics []Topic
	var members []Member
	var want []Assignment
	for _, line := range lines {
		f := strings.Fields(line)
		if f[0] == "topic" {
			topics = append(topics, Topic{ID: topicID(int(number(f[1]))), Partitions: number(f[2])})
			continue
		}
		m := Member{ID: f[1]}
		if f[2] != "-" {
			m.Instance = &f[2]
		}
		for _, id := range numbers(f[3]) {
			m.Subscribed = append(m.Subscribed, topicID(int(id)))
		}
		parts := strings.Split(line, " | ")
		m.Owned = parseAssignment(parts[1])
		members, want = append(members, m), append(want, parseAssignment(parts[2]))
	}
	got := map[string]func([]Member, []Topic) []Assignment{"uniform": Uniform, "range": Range}[name](members, topics)
	if !slices.EqualFunc(got, want, Assignment.Equal) {
		t.Fatalf("%s\ngot %v\nwant %v", text, got, want)
	}
}

func parseAssignment(s string) (out Assignment) {
	if s == "-" {
		return nil
	}
	for f := range strings.FieldsSeq(s) {
		topic, partitions, _ := strings.Cut(f, ":")
		out = append(out, TopicPartitions{topicID(int(number(topic))), numbers(partitions)})
	}
	return out
}

func checkSticky(t *testing.T, standbys int, lines []string, text string) {
	var subs []Subtopology
	var workers []Worker
	var want []TaskAssignment
	for _, line := range lines {
		f := strings.Fields(line)
		if f[0] == "subtopology" {
			subs = append(subs, Subtopology{ID: f[1], Tasks: number(f[2]), Stateful: f[3] == "true"})
			continue
		}
		parts := strings.Split(line, " | ")
		workers = append(workers, Worker{ID: f[1], Process: f[2], Active: parseTasks(parts[1]), Standby: parseTasks(parts[2])})
		want = append(want, TaskAssignment{parseTasks(parts[3]), parseTasks(parts[4])})
	}
	got := Sticky(workers, subs, standbys)
	if !slices.EqualFunc(got, want, func(a, b TaskAssignment) bool { return a.Active.Equal(b.Active) && a.Standby.Equal(b.Standby) }) {
		t.Fatalf("%s\ngot %v\nwant %v", text, got, want)
	}
}

func parseTasks(s string) (out Tasks) {
	if s == "-" {
		return nil
	}
	for f := range strings.FieldsSeq(s) {
		sub, partitions, _ := strings.Cut(f, ":")
		out = append(out, SubtopologyTasks{sub, numbers(partitions)})
	}
	return out
}

// What is the same for all members need be looked at once only.
func TestHomogeneous(t *testing.T) {
	a, b := []wire.UUID{topicID(1)}, []wire.UUID{topicID(1), topicID(2)}
	for _, c := range []struct {
		members []Member
		want    bool
	}{
		{nil, true},
		{[]Member{{Subscribed: a}}, true},
		{[]Member{{Subscribed: a}, {Subscribed: slices.Clone(a)}}, true},
		{[]Member{{Subscribed: a}, {Subscribed: b}}, false},
		{[]Member{{Subscribed: b}, {Subscribed: b[:1]}}, false},
	} {
		if got := Homogeneous(c.members); got != c.want {
			t.Errorf("%v: got %v", c.members, got)
		}
	}
}
