// Package node wires a node: it builds the parts in order, lets them follow
// the metadata, and takes them down in the reverse order.
//
// Duty: nothing but wiring. Every decision lives in a part; this package says
// who knows whom, who is told first, and what happens on the way up and down.
//
// Invariants: a listener opens only when everything behind it is ready; on the
// way down listeners close first and data directories last, so that what was
// acknowledged is in plain Kafka files when Close returns.
//
// Called by package moldau, moldautest and internal/sim. It must never hold
// state that a part could hold.
package node

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/txn"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/broker"
	"github.com/moldau/moldau/internal/node/coordinator"
	"github.com/moldau/moldau/internal/node/partition"
	"github.com/moldau/moldau/internal/node/quorum"
	"github.com/moldau/moldau/internal/node/share"
	"github.com/moldau/moldau/internal/node/telemetry"
)

// closeGrace is how long Close lets answers on their way go out.
const closeGrace = 2 * time.Second

// Options are what a node runs on.
type Options struct {
	Config *config.BrokerConfig
	FS     vfs.FS
	World  clock.World
	Logger *slog.Logger
	// MaxOpenFiles is how many files and connections the process may have open; 0 where that is not known. Logs have an eighth
	// of them, connections most.
	MaxOpenFiles int
	// LogLevel is what decides in Logger's handler what is logged, so that it can be changed while the node runs; may be nil.
	LogLevel *slog.LevelVar
	// NoListeners runs the node without sockets: requests come by Handler.
	NoListeners bool
}

// Node is a running node.
type Node struct {
	o            Options
	static       *config.BrokerConfig
	config       atomic.Pointer[config.BrokerConfig]
	listeners    *config.NodeListeners
	identity     *quorum.Identity
	stores       []*commitlog.Store
	cleaner      *commitlog.Cleaner // nil: nothing is compacted
	meta         *commitlog.Store   // the one that holds the metadata log
	quorum       *quorum.Quorum
	table        *partition.Table
	groups       *coordinator.Groups
	shares       *coordinator.Shares
	transactions *coordinator.Transactions
	delivery     *share.Delivery
	telemetry    *telemetry.Table
	certificates *certificates
	sasl         *sasl
	authorizer   *broker.Authorizer // nil: everybody may do everything
	broker       *broker.Broker
	server       *edge.Server
	arrivals     *arrivals
	monitor      monitor
	addr         string

	// opened is closed when requests are served, or when it is clear that they
	// will not be; serving tells which.
	opened   chan struct{}
	serving  atomic.Bool
	stopping atomic.Bool
	openOnce sync.Once
	failOnce sync.Once
	failed   chan error
}

// Start starts a node and returns when it answers requests.
func Start(o Options) (*Node, error) {
	ready := make(chan error, 1)
	n, err := Begin(o, func(err error) { ready <- err })
	if err != nil {
		return nil, err
	}
	if err := <-ready; err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Begin builds a node and returns before it answers requests: ready is called
// when it does, or with the reason why it never will. It does not block, so it
// serves simulation, too.
func Begin(o Options, ready func(error)) (*Node, error) {
	n := &Node{o: o, static: o.Config, opened: make(chan struct{}), failed: make(chan error, 1)}
	n.monitor.Node = n
	n.config.Store(o.Config)
	if o.LogLevel == nil {
		n.o.Logger, n.o.LogLevel = level(o.Logger)
	}
	var err error
	if err = o.Config.CheckNode(); err != nil {
		return nil, err
	}
	if n.listeners, err = o.Config.Listeners(); err != nil {
		return nil, err
	}
	if err = o.Config.CheckExposure(n.listeners); err != nil {
		return nil, err
	}
	if err := n.build(); err != nil {
		n.abort()
		return nil, err
	}
	n.quorum.Start(func(err error) {
		if err == nil {
			n.serving.Store(true)
			n.openOnce.Do(func() { close(n.opened) })
			n.monitor.started()
			n.sasl.removeTokens()
			n.assignAll()
		}
		ready(err)
	})
	return n, nil
}

// build makes the parts, bottom up.
func (n *Node) build() error {
	for _, step := range []func() error{func() error { return openAuthorizer(n) }, func() error { return openSASL(n) }, func() error { return openTLS(n) }, n.listen, n.openStores, n.openQuorum} {
		if err := step(); err != nil {
			return err
		}
	}
	n.table = partition.NewTable(partition.Options{
		NodeID: n.static.NodeID(), Stores: n.stores, MetadataTopic: quorum.Topic, Broker: n.Config, Logger: n.o.Logger,
		World: n.o.World, Moved: n.moved,
	})
	groups := groupConfig(n.static)
	groups.ConsumerSettings = n.consumerSettings
	groups.Streams = n.streamsSettings
	n.groups = coordinator.NewGroups(n.o.World, n.o.Logger, groups)
	n.telemetry = telemetry.New(n.o.World)
	n.shares = coordinator.NewShares(n.o.World, n.o.Logger, shareConfig(n.static))
	n.delivery = share.New(n.deliveryOptions())
	n.transactions = coordinator.NewTransactions(n.o.World, n.o.Logger, transactionConfig(n.static), coordinator.Surroundings{
		ProducerID:   func(done func(int64, wire.Code)) { n.broker.NewProducerID(done) },
		WriteMarkers: func(m *txn.Markers, epoch int32, done func([]txn.Partition)) { n.broker.WriteMarkers(m, epoch, done) },
	})
	n.broker = broker.New(broker.Options{
		NodeID: n.static.NodeID(), ClusterID: n.identity.ClusterID, World: n.o.World, Logger: n.o.Logger,
		Config: n.Config, Quorum: quorum.Served{Quorum: n.quorum}, MetadataTopic: quorum.Topic, Table: n.table, Stores: n.stores, Groups: n.groups, Shares: n.shares,
		Controllers: n.listeners.AdvertisedController, Telemetry: n.telemetry, LogLevel: n.o.LogLevel, Delivery: n.delivery,
		Transactions: n.transactions, Authorizer: n.authorizer, SASL: n.sasl.servers, Protocols: n.listeners.Protocols, CheckSettings: n.certificates.check, CheckSASL: n.sasl.check,
	})
	n.groups.ServeShareGroups(n.shareParts())
	n.quorum.Subscribe(n.follow)
	n.monitor.openHTTP()
	return nil
}

// listen opens the sockets, so that a port in use is told before anything is
// touched and port 0 has its number. Requests wait until the node is ready.
func (n *Node) listen() error {
	cfg := n.static
	n.arrivals = newArrivals(n.o.World, cfg, protectedListener(n.listeners), namesOf(n.listeners))
	if n.o.NoListeners {
		return nil
	}
	n.server = edge.New(edge.Options{
		Handler: n, World: n.o.World, Logger: n.o.Logger, Handshaken: n.certificates.handshaken,
		MaxFrameBytes: int32(cfg.GetInt("socket.request.max.bytes")), QueuedBytes: cfg.GetLong("queued.max.request.bytes"),
		Limits: connectionLimits(n, cfg), Arrive: n.arrivals.arrive, MaxFiles: n.o.MaxOpenFiles,
		FirstFrameBytes: n.sasl.firstFrames(),
		IdleTimeout:     time.Duration(cfg.GetLong("connections.max.idle.ms")) * time.Millisecond,
		SendBuffer:      socketBuffer(cfg, "socket.send.buffer.bytes"), ReceiveBuffer: socketBuffer(cfg, "socket.receive.buffer.bytes"),
	})
	l := n.listeners
	if err := n.bind(l.Broker, l.Advertised); err != nil {
		return err
	}
	if len(l.Advertised) > 0 {
		n.addr = address(l.Advertised[0])
	}
	return n.bind(l.Controller, l.AdvertisedController)
}

// Config is the settings as they are now, dynamic ones included.
func (n *Node) Config() *config.BrokerConfig { return n.config.Load() }

// Addr is the first advertised address, "host:port".
func (n *Node) Addr() string { return n.addr }

// ClusterID is the id of the cluster.
func (n *Node) ClusterID() string { return n.identity.ClusterID }

// Handler answers requests of connections without a socket.
func (n *Node) Handler() edge.Handler { return n.broker }

// Serve answers one request once the node is ready.
func (n *Node) Serve(q *edge.Request) {
	<-n.opened
	if !n.serving.Load() {
		q.Hangup(nil) // it never came up, or is going down
		return
	}
	n.broker.Serve(q)
}

// Failed gives the error that ended the node by itself.
func (n *Node) Failed() <-chan error { return n.failed }

func (n *Node) fail(err error) {
	n.failOnce.Do(func() { n.failed <- err })
}

// openStores formats what is empty and opens the data directories.
func (n *Node) openStores() error {
	cfg, metaDir := n.static, filepath.Clean(n.static.MetadataLogDir())
	var dirs []string
	for _, dir := range cfg.LogDirs() {
		dirs = append(dirs, filepath.Clean(dir))
	}
	var err error
	n.identity, err = quorum.Format(quorum.FormatOptions{
		FS: n.o.FS, World: n.o.World, MetadataDir: metaDir, Dirs: dirs, NodeID: cfg.NodeID(), Voter: n.voter(),
	})
	if err != nil {
		return err
	}
	all := dirs
	if !slices.Contains(dirs, metaDir) {
		all = append(slices.Clone(dirs), metaDir)
	}
	n.cleaner = n.newCleaner()
	for _, dir := range all {
		s, err := commitlog.Open(n.storeOptions(dir))
		if err != nil {
			return err
		}
		for _, note := range s.Report().Notes {
			n.o.Logger.Warn(note, "dir", dir)
		}
		if dir == metaDir {
			n.meta = s
		}
		if slices.Contains(dirs, dir) {
			n.stores = append(n.stores, s)
		}
	}
	return nil
}

// openFiles is one data directory's part of the files that the process may have open; 0 for its own bound. A log holds at most a few at a time.
func openFiles(all, directories int) int {
	const few = 8
	if all == 0 {
		return 0
	}
	return min(max(all/8/directories, few), commitlog.DefaultMaxOpenFiles)
}

func (n *Node) storeOptions(dir string) commitlog.StoreOptions {
	cfg := n.static
	return commitlog.StoreOptions{
		FS: n.o.FS, Dir: dir, World: n.o.World, Logger: n.o.Logger,
		JournalFileBytes: cfg.GetLong("moldau.journal.segment.bytes"), TailBytes: cfg.GetLong("moldau.tail.bytes"),
		RecoveryThreads:    cfg.GetInt("num.recovery.threads.per.data.dir"),
		RetentionCheckMs:   cfg.GetLong("log.retention.check.interval.ms"),
		OffsetCheckpointMs: cfg.GetLong("log.flush.offset.checkpoint.interval.ms"),
		Cleaner:            n.cleaner,
		MaxOpenFiles:       openFiles(n.o.MaxOpenFiles, len(cfg.LogDirs())+1),
		OnFail:             func(err error) { n.directoryFailed(dir, err) },
		Config: func(topic string, _ int32) commitlog.LogConfig {
			if topic == quorum.Topic {
				return quorum.LogConfig(cfg)
			}
			return commitlog.LogConfig{RetentionBytes: -1, RetentionMs: -1} // nothing is deleted before the topic's settings are known
		},
	}
}

// directoryFailed ends the node when it cannot go on: without the metadata
// log, or without any directory for data.
func (n *Node) directoryFailed(dir string, err error) {
	for _, s := range n.stores {
		if s.Failed() == nil && n.meta.Failed() == nil {
			n.o.Logger.Error("a data directory is offline; its partitions answer with KAFKA_STORAGE_ERROR until the disk is repaired and the node restarted",
				"dir", dir, "error", err)
			return
		}
	}
	n.fail(err)
}

func (n *Node) openQuorum() error {
	cfg := n.static
	var err error
	n.quorum, err = quorum.Open(quorum.Options{
		Store: n.meta, FS: n.o.FS, World: n.o.World, Logger: n.o.Logger, Config: cfg, Identity: n.identity,
		LogDirs: cleaned(cfg.LogDirs()), Listeners: endpoints(n.listeners.Advertised), Controller: endpoints(n.listeners.AdvertisedController),
		PreviousBrokerEpoch: n.previousEpoch(), OnFail: n.fail,
	})
	return err
}

// previousEpoch is the broker epoch that all directories remember from a clean stop, or -1.
func (n *Node) previousEpoch() int64 {
	epoch := int64(-1)
	for i, s := range n.stores {
		r := s.Report()
		if !r.Clean || i > 0 && r.BrokerEpoch != epoch {
			return -1
		}
		epoch = r.BrokerEpoch
	}
	return epoch
}

// follow brings every part to the newest metadata, the partition table before
// those who look partitions up. A nil delta is the image at start.
func (n *Node) follow(img *metadata.Image, d *metadata.Delta) {
	authorize(n, img, d)
	n.configure(img, d)
	if d == nil {
		if err := n.table.Load(img); err != nil {
			n.o.Logger.Error("some partitions are offline", "error", err)
		}
	} else {
		n.table.Apply(img, d)
		for _, c := range d.Topics() {
			if c.After == nil {
				uncoordinate(n, c.Before.Name)
				n.groups.DeleteTopic(c.Before.Name, c.Before.ID)
				n.shares.DeleteTopic(c.Before.ID)
				n.delivery.DeleteTopic(c.Before.ID)
			}
		}
	}
	n.shares.SetImage(img)
	n.delivery.SetImage(img, d == nil || len(d.Configs()) > 0)
	n.groups.SetImage(img)
	n.transactions.SetVersion(img.Features()[metadata.FeatureTransactionVersion])
	n.coordinate(img, d)
	n.subscribe(img, d)
	limitClients(n, img, d)
	n.assignChanged(img, d)
}

// configure takes over dynamic settings of this broker and of all brokers.
func (n *Node) configure(img *metadata.Image, d *metadata.Delta) {
	if d != nil && !slices.ContainsFunc(d.Configs(), func(r metadata.Resource) bool { return r.Type == metadata.BrokerResource }) {
		return
	}
	broker := func(name string) config.Values {
		return img.Config(metadata.Resource{Type: metadata.BrokerResource, Name: name})
	}
	next, err := n.static.WithDynamic(broker(""), broker(strconv.Itoa(int(n.static.NodeID()))))
	if err != nil {
		n.o.Logger.Warn("some dynamic broker settings are not used", "error", err)
	}
	n.config.Store(next)
	n.certificates.reload("dynamic settings")
	n.configureCleaner()
	n.limitConnections(next)
	n.sasl.reconfigure(next)
}

// Close stops the node cleanly and returns when it has stopped.
func (n *Node) Close() error {
	done := make(chan error, 1)
	n.Stop(func(err error) { done <- err })
	return <-done
}

// Stop stops the node cleanly: no new requests, groups and metadata at rest,
// directories as Kafka leaves them. done is called when all is over.
func (n *Node) Stop(done func(error)) {
	var serverErr error
	n.stopping.Store(true)
	n.monitor.stops()
	n.certificates.close()
	if n.server != nil {
		n.openOnce.Do(func() { close(n.opened) })
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		serverErr = n.server.Close(ctx)
		cancel()
	}
	n.monitor.closeHTTP()
	n.sasl.close()
	n.groups.Close()
	n.shares.Close()
	n.transactions.Close()
	epoch := n.quorum.BrokerEpoch()
	n.quorum.Close(func(quorumErr error) {
		// Not here: this is the committer's goroutine, which the stores wait for.
		n.o.World.Go("close", func() {
			n.closeCleaner()
			errs := []error{serverErr, quorumErr}
			for _, s := range n.allStores() {
				errs = append(errs, s.CloseClean(epoch))
			}
			err := errors.Join(errs...)
			n.monitor.stopped(err)
			done(err)
		})
	})
}

// Kill leaves the node as kill -9 would: nothing is written any more.
func (n *Node) Kill() {
	n.certificates.close()
	n.sasl.close()
	n.closeCleaner()
	for _, s := range n.allStores() {
		s.Abandon()
	}
	if n.server != nil {
		n.openOnce.Do(func() { close(n.opened) })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.server.Close(ctx) // sockets are cut; that this is impolite is the point
	}
	n.monitor.closeHTTP()
}

// allStores are the data directories, the metadata's last.
func (n *Node) allStores() []*commitlog.Store {
	all := slices.Clone(n.stores)
	if n.meta != nil {
		all = slices.DeleteFunc(all, func(s *commitlog.Store) bool { return s == n.meta })
		all = append(all, n.meta)
	}
	return all
}

// abort takes down what was built before a step failed.
func (n *Node) abort() {
	n.certificates.close()
	if n.sasl != nil {
		n.sasl.close()
	}
	n.closeCleaner()
	n.openOnce.Do(func() { close(n.opened) })
	for _, s := range n.allStores() {
		s.Abandon()
	}
	if n.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.server.Close(ctx) // the error that matters is already on its way
	}
	n.monitor.closeHTTP()
}
