package node_test

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/node"
)

// startServing starts a node with real sockets on the simulated disk.
func startServing(t *testing.T, log io.Writer, web string) *node.Node {
	t.Helper()
	cfg, err := config.NewBroker(config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/data",
		"listeners":                 "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
		"controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": "localhost:9093",
		"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "0",
		"moldau.journal.segment.bytes": "1048576", "moldau.tail.bytes": "1048576", "moldau.http.listener": web,
	})
	if err != nil {
		t.Fatal(err)
	}
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
	n, err := node.Start(node.Options{Config: cfg, FS: disk.Mount(), World: &clock.Real{}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func get(t *testing.T, n *node.Node, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + n.HTTPAddr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// use produces to a topic, reads it in a group that commits, and asks for what does not exist.
func use(t *testing.T, n *node.Node) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.DefaultProduceTopic("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	a := kadm.NewClient(cl)
	if _, err := a.CreateTopic(t.Context(), 2, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("one"), kgo.StringRecord("two"), kgo.StringRecord("three")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := cl.PollFetches(t.Context()); got.NumRecords() != 3 {
		t.Fatal(got.NumRecords(), got.Err())
	}
	if err := cl.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("four")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.DeleteTopics(t.Context(), "nothing"); err != nil {
		t.Fatal(err)
	}
}

// TestMetricNames holds the names to the list in testdata/metrics.txt: those of the usual dashboards.
// What the list has must be told; with a value behind the name, by that value.
func TestMetricNames(t *testing.T) {
	n := startServing(t, io.Discard, "127.0.0.1:0")
	use(t, n)
	_, body := get(t, n, "/metrics")
	told := map[string]string{}
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			series, value, _ := strings.Cut(line, "} ")
			name, labels, labelled := strings.Cut(series, "{")
			if !labelled {
				name, value, _ = strings.Cut(line, " ")
			} else {
				told[name+"{"+labels+"}"] = value
			}
			told[name] = value
		}
	}
	list, err := os.Open("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	for s := bufio.NewScanner(list); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, want, valued := strings.Cut(line, " = ")
		if got, ok := told[name]; !ok {
			t.Errorf("%s is not told", name)
		} else if valued && got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestHealthAndHistory(t *testing.T) {
	n := startServing(t, io.Discard, "127.0.0.1:0")
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nothing": 404, "/groups/nobody/history": 404} {
		if status, body := get(t, n, path); status != want {
			t.Errorf("%s gives %d %s, want %d", path, status, body, want)
		}
	}
}

func TestHistoryTellsWhyAGroupRebalanced(t *testing.T) {
	n := startServing(t, io.Discard, "127.0.0.1:0")
	use(t, n)
	status, body := get(t, n, "/groups/billing/history")
	if status != 200 || !strings.Contains(body, `"reason":"`) || !strings.Contains(body, `"members":1`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestTheLogTellsALife(t *testing.T) {
	var log lockedLog
	t.Run("a life", func(t *testing.T) { use(t, startServing(t, &log, "")) })
	rest := log.String()
	for _, want := range []string{
		`msg="this node leads the metadata quorum"`, "epoch=", `msg="the node serves clients"`, "cluster=", "address=127.0.0.1:",
		`msg="rebalance begins" group=billing`, "reason=", `msg="the node stops"`, `msg="the node has stopped`,
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%s is not there, or not in order:\n%s", want, log.String())
		}
		rest = after
	}
}

// lockedLog is a log that is written from several goroutines.
type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestATakenHTTPPortIsNoReasonNotToStart(t *testing.T) {
	first := startServing(t, io.Discard, "127.0.0.1:0")
	var log lockedLog
	second := startServing(t, &log, first.HTTPAddr())
	if second.HTTPAddr() != "" || second.Addr() == "" {
		t.Errorf("HTTP on %q, Kafka on %q", second.HTTPAddr(), second.Addr())
	}
	if !strings.Contains(log.String(), "moldau.http.listener") || !strings.Contains(log.String(), first.HTTPAddr()) {
		t.Errorf("the log does not say so: %s", log.String())
	}
}
