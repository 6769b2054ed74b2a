package moldautest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/moldautest"
)

func TestAcknowledgedRecordsOutliveEveryAccident(t *testing.T) {
	for name, c := range map[string]struct {
		disk     moldautest.Disk
		accident func(n *moldautest.Node)
	}{
		"kill on a real disk":          {moldautest.Directory, (*moldautest.Node).Kill},
		"kill on a simulated disk":     {moldautest.Simulated, (*moldautest.Node).Kill},
		"power cut, all unsynced lost": {moldautest.Simulated, func(n *moldautest.Node) { n.PowerCut(moldautest.Lose) }},
		"power cut, torn":              {moldautest.Simulated, func(n *moldautest.Node) { n.PowerCut(moldautest.Mix) }},
		"clean stop":                   {moldautest.Directory, (*moldautest.Node).Stop},
		"clean stop, then power cut":   {moldautest.Simulated, func(n *moldautest.Node) { n.Stop(); n.PowerCut(moldautest.Lose) }},
		"restart without a stop":       {moldautest.Directory, func(*moldautest.Node) {}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			n := moldautest.Start(t, moldautest.Options{Disk: c.disk, Seed: 7})
			t.Logf("up in %v", time.Since(began))
			addr := n.Addr()
			written := 0
			for range 3 {
				written = produce(t, n, written, 50)
				c.accident(n)
				n.Restart()
				if n.Addr() != addr {
					t.Fatalf("the restarted node is on %s, it was on %s", n.Addr(), addr)
				}
				expect(t, n, written)
			}
		})
	}
}

// produce writes records numbered from first on, each acknowledged, and gives the next number.
func produce(t *testing.T, n *moldautest.Node, first, count int) int {
	t.Helper()
	cl := client(t, n, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("numbers"))
	for i := first; i < first+count; i++ {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	return first + count
}

// expect reads the numbers below end, in order.
func expect(t *testing.T, n *moldautest.Node, end int) {
	t.Helper()
	cl := client(t, n, kgo.ConsumeTopics("numbers"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	next := 0
	for next < end {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			if string(r.Value) != fmt.Sprint(next) {
				t.Fatalf("read %q at offset %d where record %d was written", r.Value, r.Offset, next)
			}
			next++
		}
	}
}

func client(t *testing.T, n *moldautest.Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(n.Addr()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestSettingsReachTheNode(t *testing.T) {
	n := moldautest.Start(t, moldautest.Options{Disk: moldautest.Simulated, Settings: map[string]string{"num.partitions": "5"}})
	admin := kadm.NewClient(client(t, n))
	got, err := admin.CreateTopic(t.Context(), -1, -1, nil, "five")
	if err != nil {
		t.Fatal(err)
	}
	if got.NumPartitions != 5 {
		t.Errorf("the topic has %d partitions, num.partitions says 5", got.NumPartitions)
	}
}

func TestManyNodesAtOnce(t *testing.T) {
	for i := range 3 {
		n := moldautest.Start(t, moldautest.Options{Disk: moldautest.Simulated, Seed: uint64(i)})
		produce(t, n, 0, 1)
	}
}

func TestADeadNodeAnswersNobody(t *testing.T) {
	n := moldautest.Start(t, moldautest.Options{Disk: moldautest.Simulated})
	n.Kill()
	n.Kill() // a second time changes nothing
	n.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := client(t, n, kgo.RetryTimeout(time.Second), kgo.RequestRetries(0)).Ping(ctx); err == nil {
		t.Error("a killed node answers")
	}
	if n.Failed() != nil {
		t.Error("a node that is down gives a channel of failures")
	}
}

// TestWhatWasAcknowledgedUnderLoadIsThere cuts the power while many records are on their way.
func TestWhatWasAcknowledgedUnderLoadIsThere(t *testing.T) {
	n := moldautest.Start(t, moldautest.Options{Disk: moldautest.Simulated, Seed: 3})
	produce(t, n, 0, 1) // the topic is there
	cl := client(t, n, kgo.DefaultProduceTopic("numbers"), kgo.ProducerLinger(0), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.DisableIdempotentWrite())
	acknowledged := make(chan int64, 5000)
	half := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	for i := range cap(acknowledged) {
		cl.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), func(r *kgo.Record, err error) {
			if err == nil {
				acknowledged <- r.Offset
			}
		})
		if i == cap(acknowledged)/2 {
			go func() { <-acknowledged; close(half) }()
		}
	}
	<-half
	n.PowerCut(moldautest.Mix)
	cancel()
	cl.Close()
	last := int64(0)
	for len(acknowledged) > 0 {
		last = max(last, <-acknowledged)
	}
	n.Restart()
	ends, err := kadm.NewClient(client(t, n)).ListEndOffsets(t.Context(), "numbers")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("numbers", 0)
	t.Logf("acknowledged up to %d, the log ends at %d", last, end.Offset)
	if end.Offset <= last {
		t.Errorf("offset %d was acknowledged, and the log ends at %d", last, end.Offset)
	}
}
