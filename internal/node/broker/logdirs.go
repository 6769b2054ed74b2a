package broker

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveDescribeLogDirs tells what lies in each data directory (KIP-113, KIP-827).
func serveDescribeLogDirs(b *Broker, _ *edge.Request, m *wire.DescribeLogDirsRequest) *wire.DescribeLogDirsResponse {
	out := &wire.DescribeLogDirsResponse{}
	out.SetDefaults()
	var asked map[string]map[int32]bool
	if m.Topics != nil {
		asked = make(map[string]map[int32]bool)
		for i := range m.Topics {
			t := &m.Topics[i]
			if asked[t.Topic] == nil {
				asked[t.Topic] = make(map[int32]bool)
			}
			for _, index := range t.Partitions {
				asked[t.Topic][index] = true
			}
		}
	}
	for _, s := range b.stores {
		out.Results = append(out.Results, describeDir(b, s, asked))
	}
	return out
}

// describeDir describes one directory: the asked partitions, or all.
func describeDir(b *Broker, s *commitlog.Store, asked map[string]map[int32]bool) wire.DescribeLogDirsResponseDescribeLogDirsResult {
	r := wire.DescribeLogDirsResponseDescribeLogDirsResult{}
	r.SetDefaults()
	r.LogDir = s.Dir()
	if s.Failed() != nil {
		r.ErrorCode = wire.KafkaStorageError
		return r
	}
	if total, free, err := s.Space(); err == nil {
		r.TotalBytes, r.UsableBytes = total, free
	}
	topics := make(map[string]*wire.DescribeLogDirsResponseDescribeLogDirsTopic)
	add := func(name string, p wire.DescribeLogDirsResponseDescribeLogDirsPartition) {
		if name == b.metaTopic || asked != nil && !asked[name][p.PartitionIndex] {
			return
		}
		t := topics[name]
		if t == nil {
			t = &wire.DescribeLogDirsResponseDescribeLogDirsTopic{Name: name}
			topics[name] = t
		}
		t.Partitions = append(t.Partitions, p)
	}
	for _, l := range s.Logs() {
		add(l.Topic(), wire.DescribeLogDirsResponseDescribeLogDirsPartition{
			PartitionIndex: l.Partition(), PartitionSize: l.Size(), OffsetLag: l.End() - l.Stable(),
		})
	}
	for _, f := range s.Futures() {
		add(f.Topic, wire.DescribeLogDirsResponseDescribeLogDirsPartition{
			PartitionIndex: f.Partition, PartitionSize: f.Size, OffsetLag: f.Lag, IsFutureKey: true,
		})
	}
	for _, t := range topics {
		slices.SortFunc(t.Partitions, func(a, b wire.DescribeLogDirsResponseDescribeLogDirsPartition) int {
			return cmp.Compare(a.PartitionIndex, b.PartitionIndex)
		})
		r.Topics = append(r.Topics, *t)
	}
	slices.SortFunc(r.Topics, func(a, b wire.DescribeLogDirsResponseDescribeLogDirsTopic) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

// serveAlterReplicaLogDirs says where replicas shall live (KIP-113). They move in
// the background; for a replica that does not exist yet the wish is remembered.
func serveAlterReplicaLogDirs(b *Broker, _ *edge.Request, m *wire.AlterReplicaLogDirsRequest) *wire.AlterReplicaLogDirsResponse {
	out := &wire.AlterReplicaLogDirsResponse{}
	out.SetDefaults()
	topics := make(map[string]int)
	for i := range m.Dirs {
		dir := &m.Dirs[i]
		for j := range dir.Topics {
			name := dir.Topics[j].Name
			at, ok := topics[name]
			if !ok {
				at = len(out.Results)
				topics[name] = at
				out.Results = append(out.Results, wire.AlterReplicaLogDirsResponseAlterReplicaLogDirTopicResult{TopicName: name})
			}
			for _, index := range dir.Topics[j].Partitions {
				if namedLater(m.Dirs[i:], j, name, index) {
					continue
				}
				out.Results[at].Partitions = append(out.Results[at].Partitions, wire.AlterReplicaLogDirsResponseAlterReplicaLogDirPartitionResult{
					PartitionIndex: index, ErrorCode: alterDir(b, dir.Path, name, index),
				})
			}
		}
	}
	return out
}

// namedLater tells whether a replica is named once more behind the jth topic of the first directory: the last wish counts.
func namedLater(dirs []wire.AlterReplicaLogDirsRequestAlterReplicaLogDir, j int, topic string, index int32) bool {
	for i := range dirs {
		topics := dirs[i].Topics
		if i == 0 {
			topics = topics[j+1:]
		}
		for k := range topics {
			if topics[k].Name == topic && slices.Contains(topics[k].Partitions, index) {
				return true
			}
		}
	}
	return false
}

func alterDir(b *Broker, path, topic string, index int32) wire.Code {
	at := slices.IndexFunc(b.stores, func(s *commitlog.Store) bool { return s.Dir() == path })
	if at < 0 {
		return wire.LogDirNotFound
	}
	if b.stores[at].Failed() != nil {
		return wire.KafkaStorageError
	}
	code := b.table.Move(topic, index, b.stores[at])
	if code != wire.ReplicaNotAvailable {
		return code
	}
	if known, ok := b.image().Topic(topic); !ok || index < 0 || int(index) >= len(known.Partitions) {
		return wire.UnknownTopicOrPartition // the directory is remembered all the same, as Kafka does
	}
	return code
}
