package node

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/node/partition"
)

// maxAssignments is how many replicas one request assigns, as in Kafka.
const maxAssignments = 2250

// assignment is the replicas that lie in another data directory than the metadata says (KIP-858).
type assignment struct {
	node  *Node
	count int
	// at is the place of a directory in the request.
	at  map[wire.UUID]int
	req *wire.AssignReplicasToDirsRequest
}

// assignAll tells the controller where all replicas lie whose directories it has wrong.
func (n *Node) assignAll() {
	img := n.quorum.Image()
	a := assignment{node: n}
	for t := range img.Topics() {
		a.topic(t)
	}
	a.send()
}

// assignChanged does so for the topics that a change of the metadata touched.
func (n *Node) assignChanged(img *metadata.Image, d *metadata.Delta) {
	if d == nil || img.MetadataVersion() < metadata.DirectoriesVersion || n.quorum.BrokerEpoch() < 0 {
		return // at start assignAll does it
	}
	a := assignment{node: n}
	for _, c := range d.Topics() {
		if c.After != nil {
			a.topic(c.After)
		}
	}
	a.send()
}

// moved tells the controller of one replica that lies elsewhere now.
func (n *Node) moved(p *partition.Partition) {
	if t, ok := n.quorum.Image().TopicByID(p.TopicID); ok {
		a := assignment{node: n}
		a.topic(t)
		a.send()
	}
}

// topic adds the topic's replicas on this node whose directory is not the one that the metadata has.
func (a *assignment) topic(t *metadata.Topic) {
	local := a.node.table.ByID(t.ID)
	for i, p := range t.Partitions {
		here := local.Partition(int32(i))
		if here == nil || here.Closed() {
			continue
		}
		dir := a.node.identity.Directories[a.node.table.Directory(here)]
		if dir.IsZero() || p.Directory(a.node.static.NodeID()) == dir {
			continue
		}
		a.add(dir, t.ID, int32(i))
	}
}

func (a *assignment) add(dir, topic wire.UUID, index int32) {
	if a.req == nil {
		a.req = &wire.AssignReplicasToDirsRequest{BrokerID: a.node.static.NodeID(), BrokerEpoch: a.node.quorum.BrokerEpoch()}
		a.at = make(map[wire.UUID]int)
	}
	at, ok := a.at[dir]
	if !ok {
		at = len(a.req.Directories)
		a.at[dir] = at
		a.req.Directories = append(a.req.Directories, wire.AssignReplicasToDirsRequestDirectoryData{ID: dir})
	}
	d := &a.req.Directories[at]
	if n := len(d.Topics); n == 0 || d.Topics[n-1].TopicID != topic {
		d.Topics = append(d.Topics, wire.AssignReplicasToDirsRequestTopicData{TopicID: topic})
	}
	last := &d.Topics[len(d.Topics)-1]
	last.Partitions = append(last.Partitions, wire.AssignReplicasToDirsRequestPartitionData{PartitionIndex: index})
	if a.count++; a.count == maxAssignments {
		a.send()
	}
}

// send puts what was gathered to the controller. If it does not take it, the next change or start does it again.
func (a *assignment) send() {
	if a.req == nil {
		return
	}
	log, count := a.node.o.Logger, a.count
	a.node.quorum.Propose(a.req, func(reply any, err error) {
		r, ok := reply.(*wire.AssignReplicasToDirsResponse)
		if err == nil && ok && r.ErrorCode != wire.None {
			err = r.ErrorCode
		}
		if err != nil {
			log.Warn("the controller does not know in which directory some replicas lie; it is told again at the next start", "replicas", count, "error", err)
		}
	})
	a.req, a.count = nil, 0
}
