package controller

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// TestScripts runs scripts of clusters with several brokers; each twice, which must come out the same.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "ours"), func(t *testing.T, path string) {
		t.Helper()
		a, b := newCluster(t), newCluster(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			a.t, b.t = t, t
			first := a.command(t, d)
			if second := b.command(t, d); first != second {
				t.Errorf("%s: the same command gives\n%s\nand\n%s", d.Pos, first, second)
			}
			return first
		})
	})
}

// names shows the kinds of records, with how many there are in a row.
func names(records []wire.MetadataRecord) string {
	var out []string
	for i := 0; i < len(records); {
		n := i
		for n < len(records) && reflect.TypeOf(records[n]) == reflect.TypeOf(records[i]) {
			n++
		}
		name := strings.TrimSuffix(reflect.TypeOf(records[i]).Elem().Name(), "Record")
		if n-i > 1 {
			name = fmt.Sprintf("%s*%d", name, n-i)
		}
		out = append(out, name)
		i = n
	}
	return "[" + strings.Join(out, " ") + "]"
}

func arg[T any](t *testing.T, d *datadriven.TestData, name string, otherwise T) T {
	t.Helper()
	v := otherwise
	if d.HasArg(name) {
		d.MaybeScanArgs(t, name, &v)
	}
	return v
}

func (c *cluster) command(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	id := int32(arg(t, d, "id", 1))
	epoch := int64(-1)
	if b := c.machine.Image().Broker(id); b != nil {
		epoch = b.BrokerEpoch
	}
	epoch = arg(t, d, "epoch", epoch)
	switch d.Cmd {
	case "join":
		c.join(id, arg(t, d, "rack", ""))
		return "ok"
	case "register":
		r := registration(id, byte(arg(t, d, "incarnation", 77)), arg(t, d, "previous", int64(-1)), "")
		switch {
		case d.HasArg("cluster"):
			r.ClusterID = "other"
		case d.HasArg("no-dirs"):
			r.LogDirs = nil
		case d.HasArg("dir"):
			r.LogDirs = []wire.UUID{{2, byte(arg(t, d, "dir", 0))}}
		case d.HasArg("reserved"):
			r.LogDirs = []wire.UUID{wire.LostDirID}
		case d.HasArg("without"):
			name := arg(t, d, "without", "")
			r.Features = slices.DeleteFunc(r.Features, func(f wire.BrokerRegistrationRequestFeature) bool { return f.Name == name })
		}
		reply, records := c.ask(r)
		b := reply.(*wire.BrokerRegistrationResponse)
		return fmt.Sprintf("%s epoch %d %s", said(b.ErrorCode, nil), b.BrokerEpoch, names(records))
	case "heartbeat":
		reply, records := c.ask(&wire.BrokerHeartbeatRequest{
			BrokerID: id, BrokerEpoch: epoch, CurrentMetadataOffset: arg(t, d, "at", int64(math.MaxInt64)),
			WantFence: d.HasArg("fence"), WantShutDown: d.HasArg("stop"),
		})
		b := reply.(*wire.BrokerHeartbeatResponse)
		return fmt.Sprintf("%s caught-up=%v fenced=%v stop=%v %s", said(b.ErrorCode, nil), b.IsCaughtUp, b.IsFenced, b.ShouldShutDown, names(records))
	case "unregister":
		reply, records := c.ask(&wire.UnregisterBrokerRequest{BrokerID: id})
		b := reply.(*wire.UnregisterBrokerResponse)
		return said(b.ErrorCode, b.ErrorMessage) + " " + names(records)
	case "producer-ids":
		reply, records := c.ask(&wire.AllocateProducerIdsRequest{BrokerID: id, BrokerEpoch: epoch})
		b := reply.(*wire.AllocateProducerIdsResponse)
		return fmt.Sprintf("%s %d+%d %s", said(b.ErrorCode, nil), b.ProducerIDStart, b.ProducerIDLen, names(records))
	case "isr":
		return c.isr(t, d, id, epoch)
	case "assign-dirs":
		return c.assign(t, d, id, epoch)
	case "show":
		return c.show(d.CmdArgs[0].Key)
	case "show-all":
		return c.showAdmin(d.CmdArgs[0].Key)
	default:
		return run(t, c, d)
	}
}

func (c *cluster) isr(t *testing.T, d *datadriven.TestData, id int32, epoch int64) string {
	t.Helper()
	topic, ok := c.machine.Image().Topic(arg(t, d, "topic", ""))
	if !ok {
		topic = &metadata.Topic{ID: wire.UUID{8}, Partitions: []*metadata.Partition{{}}}
	}
	n := int32(arg(t, d, "partition", 0))
	p := &metadata.Partition{}
	if int(n) < len(topic.Partitions) {
		p = topic.Partitions[n]
	}
	in := wire.AlterPartitionRequestPartitionData{
		PartitionIndex: n, LeaderEpoch: int32(arg(t, d, "leader-epoch", int(p.LeaderEpoch))),
		PartitionEpoch: int32(arg(t, d, "partition-epoch", int(p.PartitionEpoch))), LeaderRecoveryState: int8(arg(t, d, "recovery", 0)),
	}
	for _, b := range ids(t, arg(t, d, "new", "none")) {
		s := wire.AlterPartitionRequestBrokerState{BrokerID: b, BrokerEpoch: -1}
		if reg := c.machine.Image().Broker(b); reg != nil {
			s.BrokerEpoch = reg.BrokerEpoch
		}
		in.NewISRWithEpochs = append(in.NewISRWithEpochs, s)
	}
	reply, records := c.ask(&wire.AlterPartitionRequest{BrokerID: id, BrokerEpoch: epoch, Topics: []wire.AlterPartitionRequestTopicData{{
		TopicID: topic.ID, Partitions: []wire.AlterPartitionRequestPartitionData{in},
	}}})
	r := reply.(*wire.AlterPartitionResponse)
	if r.ErrorCode != wire.None {
		return said(r.ErrorCode, nil)
	}
	out := r.Topics[0].Partitions[0]
	return fmt.Sprintf("%s leader %d epoch %d/%d isr %v %s", said(out.ErrorCode, nil), out.LeaderID, out.LeaderEpoch, out.PartitionEpoch, out.ISR, names(records))
}

func (c *cluster) show(name string) string {
	topic, ok := c.machine.Image().Topic(name)
	if !ok {
		return "none"
	}
	var out []string
	for i, p := range topic.Partitions {
		line := fmt.Sprintf("%d: leader %d epoch %d/%d replicas %v isr %v", i, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, p.ISR)
		if len(p.ELR) > 0 || len(p.LastKnownELR) > 0 {
			line += fmt.Sprintf(" elr %v last %v", p.ELR, p.LastKnownELR)
		}
		if p.RecoveryState == metadata.Recovering {
			line += " recovering"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// TestPlacementIsEven places topics over racks of several sizes: replicas of a partition are on different brokers and,
// as long as there are enough racks, in different racks; no broker leads much more than its share of its rack.
func TestPlacementIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t)
		racks := rapid.IntRange(1, 4).Draw(t, "racks")
		each := rapid.IntRange(1, 3).Draw(t, "brokers of a rack")
		for b := range racks * each {
			c.join(int32(b+1), fmt.Sprint("r", b%racks))
		}
		factor := rapid.IntRange(1, racks*each).Draw(t, "replication factor")
		const partitions = 48
		c.ask(&wire.CreateTopicsRequest{Topics: []wire.CreateTopicsRequestCreatableTopic{{
			Name: "t", NumPartitions: partitions, ReplicationFactor: int16(factor),
		}}})
		topic, _ := c.machine.Image().Topic("t")
		leads := map[int32]int{}
		for _, p := range topic.Partitions {
			inRack := map[int32]int{}
			for i, b := range p.Replicas {
				inRack[b%int32(racks)]++
				if slices.Contains(p.Replicas[:i], b) {
					t.Fatalf("replicas %v", p.Replicas)
				}
			}
			for _, n := range inRack {
				if n > (factor+racks-1)/racks {
					t.Fatalf("%d replicas in one of %d racks: %v", n, racks, p.Replicas)
				}
			}
			leads[p.Leader]++
		}
		for b, n := range leads {
			if share := partitions / (racks * each); n < share-each-racks || n > share+each+racks {
				t.Fatalf("broker %d leads %d of %d partitions in %d racks of %d", b, n, partitions, racks, each)
			}
		}
	})
}

// TestLiveStateIsReplayedState makes random requests and replays the records from a random point.
func TestLiveStateIsReplayedState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t)
		c.join(1, "")
		c.join(2, "")
		cut := rapid.IntRange(0, 30).Draw(t, "snapshot at")
		base, log := c.machine.Image(), [][]wire.MetadataRecord{}
		for i := range 30 {
			if i == cut {
				base, log = c.machine.Image(), nil
			}
			_, records := c.ask(anyRequest(t, c))
			log = append(log, records)
		}
		replay := metadata.NewReplay(base)
		for _, records := range log {
			var decoded []wire.MetadataRecord
			for _, rec := range records {
				again, _, err := wire.DecodeMetadataRecord(metadata.AppendRecord(nil, rec, metadata.DefaultVersion))
				if err != nil {
					t.Fatal(err)
				}
				decoded = append(decoded, again)
			}
			if _, err := replay.Batch(decoded, 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		live, replayed := encoded(c.machine.Image()), encoded(replay.Image())
		if !slices.Equal(live, replayed) {
			t.Fatalf("live:\n%s\nreplayed:\n%s", strings.Join(live, "\n"), strings.Join(replayed, "\n"))
		}
	})
}

func encoded(i *metadata.Image) (all []string) {
	for rec := range i.Records() {
		all = append(all, fmt.Sprintf("%T %x", rec, metadata.AppendRecord(nil, rec, i.MetadataVersion())))
	}
	return all
}

func anyRequest(t *rapid.T, c *cluster) any {
	name := fmt.Sprint("t", rapid.IntRange(0, 4).Draw(t, "topic"))
	id := int32(rapid.IntRange(1, 3).Draw(t, "broker"))
	epoch := int64(-1)
	if b := c.machine.Image().Broker(id); b != nil {
		epoch = b.BrokerEpoch
	}
	switch rapid.IntRange(0, 10).Draw(t, "request") {
	case 0, 1:
		return &wire.CreateTopicsRequest{Topics: []wire.CreateTopicsRequestCreatableTopic{{
			Name: name, NumPartitions: int32(rapid.IntRange(1, 3).Draw(t, "partitions")), ReplicationFactor: int16(rapid.IntRange(1, 2).Draw(t, "rf")),
		}}}
	case 2:
		return &wire.DeleteTopicsRequest{TopicNames: []string{name}}
	case 3:
		return &wire.CreatePartitionsRequest{Topics: []wire.CreatePartitionsRequestCreatePartitionsTopic{{Name: name, Count: int32(rapid.IntRange(2, 5).Draw(t, "count"))}}}
	case 4:
		v := fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "value"))
		return &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{
			ResourceType: metadata.TopicResource, ResourceName: name,
			Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: "min.insync.replicas", Value: &v}},
		}}}
	case 5:
		return registration(id, byte(rapid.IntRange(1, 200).Draw(t, "incarnation")), rapid.SampledFrom([]int64{-1, epoch}).Draw(t, "previous"), "")
	case 6:
		return &wire.BrokerHeartbeatRequest{
			BrokerID: id, BrokerEpoch: epoch, CurrentMetadataOffset: math.MaxInt64,
			WantFence: rapid.Bool().Draw(t, "fence"), WantShutDown: rapid.Bool().Draw(t, "stop"),
		}
	case 7:
		return &wire.AlterClientQuotasRequest{Entries: []wire.AlterClientQuotasRequestEntryData{{
			Entity: entity("user:" + name), Ops: []wire.AlterClientQuotasRequestOpData{{
				Key: "producer_byte_rate", Value: float64(rapid.IntRange(0, 3).Draw(t, "rate")), Remove: rapid.Bool().Draw(t, "remove"),
			}},
		}}}
	case 8:
		if rapid.Bool().Draw(t, "remove") {
			return &wire.AlterUserScramCredentialsRequest{Deletions: []wire.AlterUserScramCredentialsRequestScramCredentialDeletion{{Name: name, Mechanism: 1}}}
		}
		return &wire.AlterUserScramCredentialsRequest{Upsertions: []wire.AlterUserScramCredentialsRequestScramCredentialUpsertion{
			{Name: name, Mechanism: 1, Iterations: 4096, Salt: []byte(name), SaltedPassword: []byte("salted")},
		}}
	case 9:
		return &wire.AssignReplicasToDirsRequest{BrokerID: id, BrokerEpoch: epoch, Directories: []wire.AssignReplicasToDirsRequestDirectoryData{{
			ID: wire.UUID{2, byte(rapid.IntRange(1, 4).Draw(t, "directory"))}, Topics: []wire.AssignReplicasToDirsRequestTopicData{{
				TopicID: c.topicID(name), Partitions: []wire.AssignReplicasToDirsRequestPartitionData{{PartitionIndex: int32(rapid.IntRange(0, 2).Draw(t, "partition"))}},
			}},
		}}}
	default:
		return &wire.ElectLeadersRequest{ElectionType: int8(rapid.IntRange(0, 1).Draw(t, "kind"))}
	}
}
