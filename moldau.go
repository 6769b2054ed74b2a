// Package moldau runs a Moldau node inside a Go program.
//
// A node speaks Apache Kafka's protocol: any Kafka client works with it.
//
//	node, err := moldau.Start(moldau.Options{Dir: "data"})
//	if err != nil { … }
//	defer node.Close()
//	client, err := kgo.NewClient(kgo.SeedBrokers(node.Addr()))
//
// The package promises no more than it shows: few options, every other choice
// is one of Kafka's settings by its name.
package moldau

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/node"
)

// Options say how a node runs. The zero value is a durable single node on
// localhost:9092 with its data under ./moldau-data.
//
// Where a setting comes from several places the later in this list wins: the
// defaults made of Dir and Addr, Properties, Environ, Settings.
type Options struct {
	// Dir is where the data lies (log.dirs); it is made when missing. Default: "moldau-data".
	Dir string
	// Addr is the address to listen on, "host:port"; port 0 takes a free one.
	// Default: "localhost:9092".
	Addr string
	// HTTPAddr is where metrics, health checks and groups' histories are served by
	// HTTP (moldau.http.listener). Default: nowhere. That it cannot be had is a warning.
	HTTPAddr string
	// Properties is the content of a server.properties file; where it is given,
	// Dir, Addr and HTTPAddr are not used. PropertiesName is what messages call it.
	Properties     []byte
	PropertiesName string
	// Environ is an environment whose KAFKA_… variables are settings, as in
	// Kafka's container image; usually os.Environ() or nothing.
	Environ []string
	// Settings are broker settings by Kafka's names.
	Settings map[string]string
	// Logger takes what the node has to say. Default: slog.Default().
	Logger *slog.Logger
	// LogLevel is what decides in Logger's handler what is logged; where it is given, clients may change it (the settings of
	// the resource BROKER_LOGGER, KIP-412) to more than Logger says otherwise.
	LogLevel *slog.LevelVar
}

// Node is a running node.
type Node struct {
	node  *node.Node
	world *clock.Real
}

// ErrClosed is returned by a second Close.
var ErrClosed = errors.New("the node is closed already")

// Start starts a node and returns when it answers requests. An error says
// which setting, file or address stands in the way.
func Start(o Options) (*Node, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	cfg, notices, err := config.Load(o.sources())
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	for _, line := range notices {
		o.Logger.Warn(line)
	}
	world := &clock.Real{}
	n, err := node.Start(node.Options{
		Config: cfg, FS: vfs.NewOS(), World: world, Logger: o.Logger, LogLevel: o.LogLevel,
		MaxOpenFiles: vfs.MaxOpenFiles(),
	})
	if err != nil {
		return nil, err
	}
	return &Node{node: n, world: world}, nil
}

// sources are the options as the layers of the settings.
func (o Options) sources() config.Sources {
	s := config.Sources{File: o.Properties, FileName: o.PropertiesName, Environ: o.Environ}
	if s.File == nil {
		s.File, s.FileName = o.defaults(), "the defaults"
	}
	for _, key := range slices.Sorted(maps.Keys(o.Settings)) {
		s.Set = append(s.Set, key+"="+o.Settings[key])
	}
	return s
}

// defaults is the server.properties of a single node. Its controller listens
// beside its broker, one port higher, or two if HTTP is there.
func (o Options) defaults() []byte {
	dir, addr := filepath.ToSlash(filepath.Clean(cmp.Or(o.Dir, "moldau-data"))), cmp.Or(o.Addr, "localhost:9092")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, "9092"
	}
	controller := "0"
	if n, err := strconv.Atoi(port); err == nil && n > 0 {
		controller = strconv.Itoa(n + 1)
		if _, web, err := net.SplitHostPort(o.HTTPAddr); err == nil && web == controller {
			controller = strconv.Itoa(n + 2)
		}
	}
	return fmt.Appendf(nil, `process.roles=broker,controller
node.id=1
log.dirs=%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=localhost:9093
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
share.coordinator.state.topic.replication.factor=1
moldau.http.listener=%s
`, dir, net.JoinHostPort(host, port), net.JoinHostPort(host, controller), o.HTTPAddr)
}

// Addr is the address that clients connect to, "host:port".
func (n *Node) Addr() string { return n.node.Addr() }

// HTTPAddr is the address of the HTTP listener, "host:port"; "" when there is none.
func (n *Node) HTTPAddr() string { return n.node.HTTPAddr() }

// Failed gives the error that ended the node by itself, when one does: every data
// directory offline, or the metadata log lost. Close it all the same.
func (n *Node) Failed() <-chan error { return n.node.Failed() }

// Close stops the node cleanly: everything acknowledged is in plain Kafka
// files afterwards. The error is that of the first part that could not end well;
// the node is stopped all the same.
func (n *Node) Close() error {
	if n.node == nil {
		return ErrClosed
	}
	err := n.node.Close()
	n.node = nil
	n.world.Wait()
	return err
}
