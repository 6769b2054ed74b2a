package node

import (
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/streams"
	"github.com/moldau/moldau/internal/node/coordinator"
	"github.com/moldau/moldau/internal/node/quorum"
	"github.com/moldau/moldau/internal/node/share"
)

// bind listens on each address, and puts the port that was taken for 0 into
// what is advertised under the same name.
func (n *Node) bind(bound, advertised []config.Listener) error {
	for i := range bound {
		addr, err := n.certificates.listen(bound[i])
		if err != nil {
			return err
		}
		_, port, err := net.SplitHostPort(addr.String())
		if err != nil {
			return err
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return err
		}
		bound[i].Port = uint16(number)
		for k := range advertised {
			if advertised[k].Name == bound[i].Name && advertised[k].Port == 0 {
				advertised[k].Port = uint16(number)
			}
		}
	}
	return nil
}

// address is a listener's "host:port".
func address(l config.Listener) string {
	return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
}

// endpoints are listeners as the metadata knows them.
func endpoints(listeners []config.Listener) []quorum.Endpoint {
	out := make([]quorum.Endpoint, 0, len(listeners))
	for _, l := range listeners {
		out = append(out, quorum.Endpoint{Name: l.Name, Host: hostOf(l), Port: l.Port, Protocol: int16(l.SecurityProtocol)})
	}
	return out
}

// hostOf is the name under which a listener on all interfaces is reached.
func hostOf(l config.Listener) string {
	if l.Host == "" {
		return "localhost"
	}
	return l.Host
}

// voter is this node's controller listener as other voters would reach it.
func (n *Node) voter() quorum.Endpoint {
	if all := endpoints(n.listeners.AdvertisedController); len(all) > 0 {
		return all[0]
	}
	return quorum.Endpoint{}
}

func cleaned(dirs []string) []string {
	out := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		out = append(out, filepath.Clean(dir))
	}
	return out
}

// shareConfig is what of the settings concerns the state of share groups.
func shareConfig(cfg *config.BrokerConfig) coordinator.ShareConfig {
	c := coordinator.DefaultShareConfig()
	c.Codec = compress.Codec(cfg.GetInt("share.coordinator.state.topic.compression.codec"))
	c.WriteTimeoutMs = cfg.GetLong("share.coordinator.write.timeout.ms")
	c.Partitions = int32(cfg.GetInt("share.coordinator.state.topic.num.partitions"))
	c.UpdatesPerSnapshot = int32(cfg.GetInt("share.coordinator.snapshot.update.records.per.snapshot"))
	c.ColdSnapshotMs = cfg.GetLong("share.coordinator.cold.partition.snapshot.interval.ms")
	c.PruneMs = cfg.GetLong("share.coordinator.state.topic.prune.interval.ms")
	return c
}

// transactionConfig is what of the settings concerns transactions.
func transactionConfig(cfg *config.BrokerConfig) coordinator.TransactionConfig {
	c := coordinator.DefaultTransactionConfig()
	c.Partitions = int32(cfg.GetInt("transaction.state.log.num.partitions"))
	c.MaxTimeoutMs = int32(cfg.GetInt("transaction.max.timeout.ms"))
	c.AbortCheckMs = int64(cfg.GetInt("transaction.abort.timed.out.transaction.cleanup.interval.ms"))
	c.ExpirationMs = int64(cfg.GetInt("transactional.id.expiration.ms"))
	c.ExpirationCheckMs = int64(cfg.GetInt("transaction.remove.expired.transaction.cleanup.interval.ms"))
	return c
}

// initialQuietMs is how long nobody may join before a new group begins, unless group.initial.rebalance.delay.ms is set.
const initialQuietMs = 100

// groupConfig is what of the settings concerns groups.
func groupConfig(cfg *config.BrokerConfig) coordinator.GroupConfig {
	g := coordinator.DefaultGroupConfig()
	g.Codec = compress.Codec(cfg.GetInt("offsets.topic.compression.codec"))
	g.CommitTimeoutMs = cfg.GetLong("offsets.commit.timeout.ms")
	g.Partitions = int32(cfg.GetInt("offsets.topic.num.partitions"))
	g.MinSessionTimeoutMs = int32(cfg.GetInt("group.min.session.timeout.ms"))
	g.MaxSessionTimeoutMs = int32(cfg.GetInt("group.max.session.timeout.ms"))
	g.MaxSize = int32(cfg.GetInt("group.max.size"))
	g.InitialRebalanceDelayMs = int32(cfg.GetInt("group.initial.rebalance.delay.ms"))
	if !cfg.IsSet("group.initial.rebalance.delay.ms") {
		g.InitialQuietMs = initialQuietMs
	}
	g.OffsetMetadataMaxBytes = int32(cfg.GetInt("offset.metadata.max.bytes"))
	g.OffsetsRetentionMs = int64(cfg.GetInt("offsets.retention.minutes")) * 60_000
	g.RetentionCheckIntervalMs = cfg.GetLong("offsets.retention.check.interval.ms")
	g.Consumer = consumerGroupConfig(cfg)
	return g
}

// socketBuffer is the size asked for a socket's buffer, 0 to leave it to the system.
//
// Differs from Kafka: where socket.receive.buffer.bytes and socket.send.buffer.bytes are not set, buffers are left to the
// system, which lets one grow for a connection that needs it. Kafka's default of 100 KiB holds about one large batch, so
// that a producer is woken up for each one.
func socketBuffer(cfg *config.BrokerConfig, key string) int {
	if !cfg.IsSet(key) {
		return 0
	}
	return cfg.GetInt(key)
}

// deliveryOptions are the parts and settings of deliveries to share groups.
func (n *Node) deliveryOptions() share.Options {
	return share.Options{
		NodeID: n.static.NodeID(), World: n.o.World, Logger: n.o.Logger, Table: n.table, Persister: n.shares,
		Settings: n.deliverySettings, MaxSessions: n.static.GetInt("group.share.max.share.sessions"),
	}
}

// deliverySettings is what of a group's settings concerns deliveries.
func (n *Node) deliverySettings(img *metadata.Image, group string) share.Settings {
	g, err := config.ResolveGroup(n.Config(), img.Config(metadata.Resource{Type: metadata.GroupResource, Name: group}))
	if err != nil {
		n.o.Logger.Warn("some settings of a group are not used", "group", group, "error", err)
	}
	s := share.Settings{Committed: g.GetString("share.isolation.level") == "read_committed"}
	s.MaxInFlight = g.GetInt("share.partition.max.record.locks")
	s.MaxDeliveries = int16(min(g.GetInt("share.delivery.count.limit"), math.MaxInt16))
	s.LockMs = g.GetLong("share.record.lock.duration.ms")
	s.Renew = g.GetBool("share.renew.acknowledge.enable")
	switch strategy, ms := g.ShareReset(); strategy {
	case "earliest":
		s.Reset = share.ResetEarliest
	case "by_duration":
		s.Reset, s.ResetMs = share.ResetByDuration, ms
	}
	return s
}

// consumerGroupConfig is what of the settings concerns consumer groups.
func consumerGroupConfig(cfg *config.BrokerConfig) group.ConsumerConfig {
	c := group.ConsumerConfig{
		MaxSize: int32(cfg.GetInt("group.consumer.max.size")), RegexRefreshMs: cfg.GetLong("group.consumer.regex.refresh.interval.ms"),
	}
	for _, name := range cfg.GetList("group.consumer.assignors") {
		c.Assignors = append(c.Assignors, config.ConsumerAssignor(name)) // CheckNode knows them all
	}
	policy := strings.ToLower(cfg.GetString("group.consumer.migration.policy"))
	c.Upgrade = policy == "upgrade" || policy == "bidirectional"
	c.Downgrade = policy == "downgrade" || policy == "bidirectional"
	return c
}

// consumerSettings is what of a group's settings concerns its consumers. Intervals that nobody has set are paced.
func (n *Node) consumerSettings(img *metadata.Image, id string) group.ConsumerSettings {
	overrides := img.Config(metadata.Resource{Type: metadata.GroupResource, Name: id})
	g, err := config.ResolveGroup(n.Config(), overrides)
	if err != nil {
		n.o.Logger.Warn("some settings of a group are not used", "group", id, "error", err)
	}
	set := func(key string) bool {
		_, ok := overrides[strings.TrimPrefix(key, "group.")]
		return ok || n.Config().IsSet(key)
	}
	s := group.ConsumerSettings{
		SessionMs: int32(g.GetInt("consumer.session.timeout.ms")), HeartbeatMs: int32(g.GetInt("consumer.heartbeat.interval.ms")),
		Paced: !set("group.consumer.heartbeat.interval.ms"), AssignmentMs: -1,
	}
	if set("group.consumer.assignment.interval.ms") {
		s.AssignmentMs = int32(g.GetInt("consumer.assignment.interval.ms"))
	}
	return s
}

// streamsSettings is what of a group's settings concerns streams groups.
func (n *Node) streamsSettings(img *metadata.Image, group string) streams.Settings {
	cfg := n.Config()
	var overrides map[string]string
	if img != nil {
		overrides = img.Config(metadata.Resource{Type: metadata.GroupResource, Name: group})
	}
	g, err := config.ResolveGroup(cfg, overrides)
	if err != nil {
		n.o.Logger.Warn("some settings of a group are not used", "group", group, "error", err)
	}
	return streams.Settings{
		SessionMs: int32(g.GetInt("streams.session.timeout.ms")), HeartbeatMs: int32(g.GetInt("streams.heartbeat.interval.ms")),
		InitialDelayMs: int32(g.GetInt("streams.initial.rebalance.delay.ms")), AssignmentMs: int32(g.GetInt("streams.assignment.interval.ms")),
		Standbys: int32(g.GetInt("streams.num.standby.replicas")), TaskOffsetMs: int32(g.GetInt("streams.task.offset.interval.ms")),
		RecoveryLag: g.GetLong("streams.acceptable.recovery.lag"), MaxSize: int32(cfg.GetInt("group.streams.max.size")),
	}
}
