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
		out.Results = append(out.Results, b.describeDir(s, asked))
	}
	return out
}

// describeDir describes one directory: the asked partitions, or all.
func (b *Broker) describeDir(s *commitlog.Store, asked map[string]map[int32]bool) wire.DescribeLogDirsResponseDescribeLogDirsResult {
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
	for _, l := range s.Logs() {
		name, index := l.Topic(), l.Partition()
		if name == b.metaTopic || asked != nil && !asked[name][index] {
			continue
		}
		t := topics[name]
		if t == nil {
			t = &wire.DescribeLogDirsResponseDescribeLogDirsTopic{Name: name}
			topics[name] = t
		}
		t.Partitions = append(t.Partitions, wire.DescribeLogDirsResponseDescribeLogDirsPartition{
			PartitionIndex: index, PartitionSize: l.Size(), OffsetLag: l.End() - l.Stable(),
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

// serveAlterReplicaLogDirs says where replicas shall live (KIP-113). A replica
// that does not exist yet remembers the wish; one that is already in that
// directory is content.
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
				out.Results[at].Partitions = append(out.Results[at].Partitions, wire.AlterReplicaLogDirsResponseAlterReplicaLogDirPartitionResult{
					PartitionIndex: index, ErrorCode: b.alterDir(dir.Path, name, index),
				})
			}
		}
	}
	return out
}

func (b *Broker) alterDir(path, topic string, index int32) wire.Code {
	at := slices.IndexFunc(b.stores, func(s *commitlog.Store) bool { return s.Dir() == path })
	if at < 0 {
		return wire.LogDirNotFound
	}
	if b.stores[at].Failed() != nil {
		return wire.KafkaStorageError
	}
	p := b.table.ByName(topic).Partition(index)
	if p == nil {
		return wire.ReplicaNotAvailable
	}
	if held, ok := b.stores[at].Log(topic, index); ok && held == p.Log {
		return wire.None
	}
	return wire.UnsupportedVersion // moving between directories is not there yet
}
