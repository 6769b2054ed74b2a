package quorum

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// The directory that Kafka 4.3.1 left after a clean stop: topic orders (4 partitions, settings), a deleted topic,
// dynamic settings of brokers, a group and client metrics, a SCRAM credential, a quota, an ACL; its snapshot ends at 61.
const (
	kafkaDir      = "testdata/kafka-4.3.1"
	kafkaSnapshot = "00000000000000000061-0000000001.checkpoint"
)

// mountKafka copies the directory to a simulated disk, without the names in leave.
func mountKafka(tb testing.TB, leave ...string) *vfs.Sim {
	tb.Helper()
	sim := vfs.NewSim(vfs.SimConfig{})
	err := filepath.WalkDir(kafkaDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || slices.Contains(leave, e.Name()) {
			return err
		}
		// Hidden files do not travel well with a module.
		to := strings.Replace(filepath.Join("data", strings.TrimPrefix(path, kafkaDir)), "kafka_clean", ".kafka_clean", 1)
		if e.IsDir() {
			return sim.MkdirAll(to)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := sim.Edit(to)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		return sim.SyncDir(filepath.Dir(to))
	})
	if err != nil {
		tb.Fatal(err)
	}
	return sim
}

func TestStartOnKafkasDirectory(t *testing.T) {
	w := clock.NewHand(1)
	p, err := start(t, mountKafka(t).Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	img := p.q.Image()
	orders, ok := img.Topic("orders")
	if !ok || len(orders.Partitions) != 4 || img.TopicCount() != 1 {
		t.Fatalf("orders is %+v of %d topics", orders, img.TopicCount())
	}
	for i, part := range orders.Partitions {
		if part.Leader != 1 || !slices.Equal(part.ISR, []int32{1}) || len(part.ELR) != 0 || part.RecoveryState != metadata.Recovered {
			t.Errorf("partition %d did not get its leader back: %+v", i, part)
		}
	}
	for _, c := range []struct {
		kind            int8
		name, key, want string
	}{
		{metadata.TopicResource, "orders", "cleanup.policy", "compact"},
		{metadata.BrokerResource, "", "log.cleaner.threads", "2"},
		{metadata.BrokerResource, "1", "log.retention.ms", "7200000"},
		{metadata.GroupResource, "g1", "consumer.session.timeout.ms", "50000"},
		{metadata.ClientMetricsResource, "cm", "interval.ms", "1000"},
	} {
		if got := img.Config(metadata.Resource{Type: c.kind, Name: c.name})[c.key]; got != c.want {
			t.Errorf("%s of %d %q is %q, want %q", c.key, c.kind, c.name, got, c.want)
		}
	}
	if len(img.ScramCredentials()) != 1 || len(img.Quotas()) != 1 || len(img.ACLs()) != 1 || p.q.Epoch() != 2 || p.q.KRaftVersion() != 1 {
		t.Errorf("%d credentials, %d quotas, %d rules, epoch %d", len(img.ScramCredentials()), len(img.Quotas()), len(img.ACLs()), p.q.Epoch())
	}
	p.ask(create("ours", 1))
	before := describe(p.q.Image())
	p.stop()
	again, err := open(t, p.fs, clock.NewHand(2), brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	fenced := strings.Count(describe(again.q.Image()), "\n")
	if want := strings.Count(before, "\n"); fenced != want {
		t.Errorf("%d records describe the image after a restart, %d did before", fenced, want)
	}
}

func TestSnapshotAndLogTellTheSame(t *testing.T) {
	with, err := open(t, mountKafka(t).Mount(), clock.NewHand(1), brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	without, err := open(t, mountKafka(t, kafkaSnapshot).Mount(), clock.NewHand(1), brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(describe(without.q.Image()), describe(with.q.Image())); diff != "" {
		t.Errorf("the log alone (-) and the snapshot with the log above it (+) differ:\n%s", diff)
	}
}

// values gives the metadata records of a run of batches, below an offset.
func values(t *testing.T, b []byte, below int64) (all [][]byte) {
	t.Helper()
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		b = rest
		it, err := batch.Iterate(nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for r, ok := it.Next(); ok && r.Offset < below; r, ok = it.Next() {
			if !batch.IsControl() {
				all = append(all, r.Value)
			}
		}
	}
	return all
}

func TestOurSnapshotIsKafkas(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(kafkaDir, logDirectory, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := metadata.NewReplay(metadata.Empty())
	for _, v := range values(t, read("00000000000000000000.log"), 61) {
		rec, version, err := wire.DecodeMetadataRecord(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Batch([]wire.MetadataRecord{rec}, 0, 1); err != nil {
			t.Fatal(err)
		}
		if again := wire.AppendMetadataRecord(nil, rec, version); !bytes.Equal(again, v) {
			t.Errorf("%T is %x, written again %x", rec, v, again)
		}
	}
	sim := mountKafka(t)
	theirs, _, err := readSnapshot(sim, filepath.Join("data", logDirectory, kafkaSnapshot), snapshotID{61, 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(describe(theirs), describe(r.Image())); diff != "" {
		t.Errorf("Kafka's snapshot (-) and ours (+) at offset 61 differ:\n%s", diff)
	}
	// Record by record: the order of kinds and of features is free.
	count := 0
	for range r.Image().Records() {
		count++
	}
	if n := len(values(t, read(kafkaSnapshot), 1<<40)); n != count {
		t.Errorf("our snapshot has %d records, Kafka's %d", count, n)
	}
}
