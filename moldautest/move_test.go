package moldautest_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/moldautest"
)

// holder tells which directory has the partition, and whether a copy is being made.
func holder(t *testing.T, adm *kadm.Client) (dir string, moving bool) {
	t.Helper()
	dirs, err := adm.DescribeAllLogDirs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range dirs {
		node.EachPartition(func(p kadm.DescribedLogDirPartition) {
			switch {
			case p.Topic != "moved":
			case p.IsFuture:
				moving = true
			default:
				dir = p.Dir
			}
		})
	}
	return dir, moving
}

func TestPartitionMovesWhileItIsUsed(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	n := moldautest.Start(t, moldautest.Options{Settings: map[string]string{
		"log.dirs": filepath.ToSlash(one) + "," + filepath.ToSlash(two),
	}})
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("moved"), kgo.ConsumeTopics("moved"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	sent := 0
	produce := func(count int) {
		for range count {
			cl.Produce(t.Context(), &kgo.Record{Value: fmt.Appendf(make([]byte, 0, 2000), "%01000d", sent)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			sent++
		}
	}
	produce(5000)
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		from, _ := holder(t, adm)
		to := filepath.ToSlash(one)
		if from == to {
			to = filepath.ToSlash(two)
		}
		req := kadm.AlterReplicaLogDirsReq{}
		req.Add(to, kadm.TopicsSet{"moved": {0: {}}})
		resp, err := adm.AlterAllReplicaLogDirs(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Each(func(r kadm.AlterReplicaLogDirsResponse) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		})
		at, moving := holder(t, adm)
		for ; moving; at, moving = holder(t, adm) {
			produce(50)
		}
		if at != to {
			t.Fatalf("moved from %s to %s", from, at)
		}
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect := func(cl *kgo.Client) {
		t.Helper()
		for got := 0; got < sent; {
			fetches := cl.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			for _, r := range fetches.Records() {
				if want := fmt.Sprintf("%01000d", got); string(r.Value) != want || r.Offset != int64(got) {
					t.Fatalf("offset %d has record %.20s..., want %d", r.Offset, r.Value, got)
				}
				got++
			}
		}
	}
	expect(cl)
	n.Kill()
	n.Restart()
	again, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.ConsumeTopics("moved"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	expect(again)
}
