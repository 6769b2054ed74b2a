package acl

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// Where Kafka's jars are, how many questions to ask, and the first of the seeds. test/compat sets the first two.
const (
	jarsVariable      = "MOLDAU_KAFKA_JARS"
	questionsVariable = "MOLDAU_ACL_QUESTIONS"
	seedVariable      = "MOLDAU_ACL_SEED"
)

// TestStandardAuthorizer compares our decisions with those of Kafka's class, run in a Java virtual machine. Networks in hosts are
// understood since 4.4: with the jars of an older release rules have none.
func TestStandardAuthorizer(t *testing.T) {
	jars := os.Getenv(jarsVariable)
	if jars == "" {
		t.Skipf("no jars of Kafka to ask: set %s to a directory of them", jarsVariable)
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("no Java to run Kafka's class with: ", err)
	}
	total := number(t, questionsVariable, 20_000)
	k := startKafka(t, jars)
	cidr := k.knowsNetworks(t)
	var asked, allowed, some int
	seed := number(t, seedVariable, 1)
	for ; asked < total; seed++ {
		w := newWorld(uint64(seed))
		w.forKafka(cidr)
		c := w.config()
		size := 1 + w.IntN(80)
		if seed%40 == 0 {
			size = 1500
		}
		kept := map[Rule]wire.UUID{}
		added := w.distinct(kept, size)
		s := NewSet(c, added)
		k.configure(c, added)
		for step := range 4 {
			if step > 0 {
				added, removed := w.distinct(kept, w.IntN(size+1)), w.some(kept)
				k.change(added, removed)
				s = s.With(added, removed)
			}
			questions := make([]Question, 250)
			for i := range questions {
				questions[i] = w.question()
			}
			for i, answer := range k.ask(questions) {
				q := questions[i]
				if answer&4 != 0 {
					t.Fatalf("seed %d: %s: Kafka's class fails", seed, q)
				}
				if d := s.Decide(q); d.Allowed != (answer&1 != 0) {
					t.Fatalf("seed %d: %s: %v, Kafka says %v; %v", seed, q, d, answer&1 != 0, kept)
				}
				if any := s.Any(q); any != (answer&2 != 0) {
					t.Fatalf("seed %d: any of %s: %v, Kafka says %v; %v", seed, q, any, answer&2 != 0, kept)
				}
				allowed += int(answer & 1)
				some += int(answer >> 1)
				asked++
			}
		}
	}
	t.Logf("%d questions, %d allowed, %d allowed on some resource, networks %v: no difference", asked, allowed, some, cidr)
	if allowed < asked/20 || allowed > asked-asked/20 || some < asked/20 {
		t.Error("the questions are too much alike")
	}
}

// BenchmarkStandardAuthorizer reports what a decision of Kafka's class costs on the rules and questions of BenchmarkDecide.
func BenchmarkStandardAuthorizer(b *testing.B) {
	jars := os.Getenv(jarsVariable)
	if jars == "" {
		b.Skipf("no jars of Kafka to ask: set %s to a directory of them", jarsVariable)
	}
	k := startKafka(b, jars)
	rules, questions := many()
	kept := map[Rule]bool{}
	rules = slices.DeleteFunc(rules, func(r *wire.AccessControlEntryRecord) bool {
		content := RuleOf(r)
		content.ID = wire.UUID{}
		twice := kept[content]
		kept[content] = true
		return twice
	})
	k.configure(Config{}, rules)
	var took uint64
	for b.Loop() {
		k.questions('T', questions)
		took = binary.BigEndian.Uint64(k.answers(8))
	}
	b.ReportMetric(float64(took), "p50-ns")
	b.ReportMetric(0, "ns/op")
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// forKafka leaves out what Kafka's class does not survive: codes of ANY, principals without a colon, and names that begin with a
// character up to "*", about which it goes wrong (see Set.Decide). The wildcard itself stays.
func (w *world) forKafka(cidr bool) {
	w.kafka = true
	w.names = []string{"*", "a", "ab", "abc", "abcd", "abd", "b", "ba", "hardcode", "hard", "kafka-cluster", "ä", "äö", "x.y", "x.", "aa", "aaa", "aaaa", "日本", "日"}
	if cidr {
		return
	}
	var hosts []string
	for _, h := range w.hosts {
		if !strings.Contains(h, "/") {
			hosts = append(hosts, h)
		}
	}
	w.hosts = append(hosts, "fe80:0:0:0:0:0:0:1")
}

// distinct draws rules that differ from each other and from those that are kept, as a controller's do.
func (w *world) distinct(kept map[Rule]wire.UUID, n int) []*wire.AccessControlEntryRecord {
	var rules []*wire.AccessControlEntryRecord
	for range n {
		r := w.rule(true)
		content := RuleOf(r)
		content.ID = wire.UUID{}
		if _, ok := kept[content]; !ok {
			kept[content] = r.ID
			rules = append(rules, r)
		}
	}
	return rules
}

// some takes about a third of the rules out; those just added stay, as one change removes before it adds.
func (w *world) some(kept map[Rule]wire.UUID) []wire.UUID {
	var ids []wire.UUID
	for content, id := range kept {
		if number := binary.LittleEndian.Uint64(id[:8]); number%3 == 0 && number <= w.settled {
			ids = append(ids, id)
			delete(kept, content)
		}
	}
	w.settled = w.last
	return ids
}

// kafka is the program that asks Kafka's class.
type kafka struct {
	t   testing.TB
	in  *bufio.Writer
	out io.Reader
}

func startKafka(t testing.TB, jars string) *kafka {
	source, err := filepath.Abs("testdata/Decisions.java")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("java", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", filepath.Join(jars, "*"), source)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Log(err, complaints.String())
		}
	})
	return &kafka{t: t, in: bufio.NewWriterSize(in, 1<<16), out: bufio.NewReader(out)}
}

// knowsNetworks asks whether a rule for a network holds for an address in it.
func (k *kafka) knowsNetworks(t *testing.T) bool {
	w := newWorld(1)
	q := w.question()
	q.PrincipalType, q.PrincipalName = "User", "a"
	r := Rule{ID: wire.UUID{1}, Type: q.Type, Name: q.Name, Pattern: Literal, Principal: "User:a", Operation: All, Permission: Allow, Host: q.Host.Unmap().String() + "/0"}
	k.configure(Config{}, []*wire.AccessControlEntryRecord{r.Record()})
	return k.ask([]Question{q})[0]&1 != 0
}

func (k *kafka) configure(c Config, rules []*wire.AccessControlEntryRecord) {
	k.in.WriteByte('C')
	k.text(strings.Join(c.SuperUsers, ";"))
	k.put(c.AllowIfNoRule)
	k.rules(rules)
}

func (k *kafka) change(added []*wire.AccessControlEntryRecord, removed []wire.UUID) {
	k.in.WriteByte('W')
	k.put(int32(len(removed)))
	for _, id := range removed {
		k.in.Write(id[:])
	}
	k.rules(added)
}

func (k *kafka) rules(rules []*wire.AccessControlEntryRecord) {
	k.put(int32(len(rules)))
	for _, r := range rules {
		k.in.Write(r.ID[:])
		k.put(r.ResourceType)
		k.text(r.ResourceName)
		k.put(r.PatternType)
		k.text(r.Principal)
		k.text(r.Host)
		k.put(r.Operation)
		k.put(r.PermissionType)
	}
}

func (k *kafka) ask(questions []Question) []byte {
	k.questions('Q', questions)
	return k.answers(len(questions))
}

func (k *kafka) questions(command byte, questions []Question) {
	k.in.WriteByte(command)
	k.put(int32(len(questions)))
	for _, q := range questions {
		k.text(q.PrincipalType)
		k.text(q.PrincipalName)
		address := q.Host.AsSlice()
		k.put(int8(len(address)))
		k.in.Write(address)
		k.put(q.Operation)
		k.put(q.Type)
		k.text(q.Name)
	}
}

// answers reads so many bytes.
func (k *kafka) answers(n int) []byte {
	answers := make([]byte, n)
	if err := k.in.Flush(); err != nil {
		k.t.Fatal("Kafka's class is gone: ", err)
	}
	if _, err := io.ReadFull(k.out, answers); err != nil {
		k.t.Fatal("Kafka's class is gone: ", err)
	}
	return answers
}

func (k *kafka) put(v any) {
	if err := binary.Write(k.in, binary.BigEndian, v); err != nil {
		k.t.Fatal(err)
	}
}

// text writes what Java reads with readUTF, for text without zero bytes and surrogates.
func (k *kafka) text(s string) {
	k.put(uint16(len(s)))
	k.in.WriteString(s)
}
