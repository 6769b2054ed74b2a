package moldautest_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/moldautest"
)

// A test that wants to know what survives when the power fails.
func Example() {
	_ = func(t *testing.T) {
		n := moldautest.Start(t, moldautest.Options{Disk: moldautest.Simulated})
		client, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		record := &kgo.Record{Topic: "orders", Value: []byte("one coffee")}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}

		n.PowerCut(moldautest.Mix)
		n.Restart()
		// The order is still there: read it, on the same address.
	}
}
