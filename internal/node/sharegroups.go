package node

import (
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/share"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// shareParts is what share groups need of the node.
func (n *Node) shareParts() coordinator.ShareParts {
	return coordinator.ShareParts{
		Shares:      n.shares,
		CreateTopic: func(done func()) { n.broker.CreateInternalTopic(coordinator.ShareTopic, done) },
		End: func(topic string, partition int32) (int64, wire.Code) {
			p := n.table.ByName(topic).Partition(partition)
			if p == nil {
				return -1, wire.UnknownTopicOrPartition
			}
			return p.HighWatermark(), wire.None
		},
		Config: share.GroupsConfig{
			MaxSize:           n.static.GetInt("group.share.max.size"),
			InitializeRetryMs: n.static.GetLong("group.share.initialize.retry.interval.ms"),
		},
		Settings: n.shareGroupSettings,
	}
}

// shareGroupSettings is what of a group's settings concerns membership in share groups. A heartbeat interval that
// nobody has set is paced.
func (n *Node) shareGroupSettings(img *metadata.Image, id string) share.GroupSettings {
	overrides := img.Config(metadata.Resource{Type: metadata.GroupResource, Name: id})
	g, err := config.ResolveGroup(n.Config(), overrides)
	if err != nil {
		n.o.Logger.Warn("some settings of a group are not used", "group", id, "error", err)
	}
	const heartbeat = "share.heartbeat.interval.ms"
	_, own := overrides[heartbeat]
	return share.GroupSettings{
		SessionMs: int32(g.GetInt("share.session.timeout.ms")), HeartbeatMs: int32(g.GetInt(heartbeat)),
		Paced:        !own && !n.Config().IsSet("group."+heartbeat),
		AssignmentMs: int32(g.GetInt("share.assignment.interval.ms")),
	}
}
