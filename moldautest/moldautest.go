// Package moldautest runs a real Moldau node for `go test`.
//
//	n := moldautest.Start(t, moldautest.Options{})
//	client, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()))
//
// The node is up in tens of milliseconds, speaks Kafka's protocol on a free port of the loopback
// interface and keeps what it acknowledges: [Node.Kill] ends it as kill -9 does, [Node.PowerCut] as
// a pulled plug does, and after [Node.Restart] everything acknowledged is there again. The test's end stops it.
//
// Duty: to give tests a node and the accidents that a node has. It is wired like any other: nothing
// in it behaves differently because a test runs it.
package moldautest

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/node"
)

// Disk is where a node keeps its data.
type Disk int

const (
	// Directory is a directory of the machine: [testing.T.TempDir], or Options.Dir.
	Directory Disk = iota
	// Simulated is a disk in memory that loses what was not synced when the power is cut.
	Simulated
)

// Options say what node to start. The zero value is a single node with Kafka's defaults
// whose internal topics have one partition, so that tests start fast.
type Options struct {
	// Disk is where the data lies.
	Disk Disk
	// Dir is the data directory on the machine's disk; "" takes a temporary one that goes with the test.
	Dir string
	// Seed decides what a power cut loses on the simulated disk.
	Seed uint64
	// Settings are broker settings by Kafka's names.
	Settings map[string]string
	// Logger takes what the node has to say. Default: the test's log, from warnings on.
	Logger *slog.Logger
}

// Fate is what a power cut does to bytes that were not synced.
type Fate int

const (
	// Mix lets the seed decide for each sector and name: lost, kept or torn.
	Mix Fate = iota
	// Lose loses all of it.
	Lose
	// Keep keeps all of it.
	Keep
)

// Node is a node under test. Its methods end the test when something fails that the test did
// not ask for. They may be called from the test's goroutine only, Addr from any.
type Node struct {
	t    testing.TB
	o    Options
	dir  string
	sim  *vfs.Sim // nil on the machine's disk
	addr string

	mu    sync.Mutex // guards what follows
	node  *node.Node // nil while it is down
	world *clock.Real
	muted bool // what a dying node complains about, or one whose test is over, interests nobody
}

// Start starts a node and stops it cleanly when the test ends.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{t: t, o: o, dir: o.Dir}
	if n.o.Logger == nil {
		n.o.Logger = slog.New(slog.NewTextHandler(&testLog{t: n}, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: withoutTime}))
	}
	switch {
	case o.Disk == Simulated:
		n.dir = "data"
		n.sim = vfs.NewSim(vfs.SimConfig{Seed: o.Seed})
	case o.Dir == "":
		n.dir = t.TempDir()
	}
	n.start()
	t.Cleanup(n.cleanup)
	return n
}

// Addr is where clients connect, "host:port". It stays the same over restarts.
func (n *Node) Addr() string { return n.addr }

// Dir is the data directory; on a simulated disk it is a name on that disk.
func (n *Node) Dir() string { return n.dir }

// Stop stops the node cleanly, as SIGTERM does. It does nothing when the node is down.
func (n *Node) Stop() {
	n.t.Helper()
	running, world := n.take()
	if running == nil {
		return
	}
	if err := running.Close(); err != nil {
		n.t.Errorf("moldautest: stopping the node: %v", err)
	}
	world.Wait()
}

// Kill ends the node as kill -9 does: what it has written stays, nothing more is written, and no
// answer goes out. It does nothing when the node is down.
func (n *Node) Kill() {
	n.t.Helper()
	if n.sim == nil {
		n.die(func() {})
		return
	}
	n.die(n.sim.Crash)
}

// PowerCut ends the node and its disk as a pulled plug does: what was not synced is lost, kept or torn as fate
// says. It needs a [Simulated] disk.
func (n *Node) PowerCut(fate Fate) {
	n.t.Helper()
	if n.sim == nil {
		n.t.Fatal("moldautest: PowerCut needs Options.Disk to be Simulated: the machine's own power stays on")
	}
	n.die(func() { n.sim.PowerCut(vfs.Fate(fate)) })
}

// die ends the node when accident has happened to its disk.
func (n *Node) die(accident func()) {
	running, world := n.take()
	n.mute(true)
	accident()
	if running != nil {
		running.Kill()
		world.Wait()
	}
}

func (n *Node) mute(muted bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.muted = muted
}

// Restart starts the node again on the same port and data; a node that runs is stopped cleanly first.
func (n *Node) Restart() {
	n.t.Helper()
	n.Stop()
	n.start()
}

// Failed gives the error that ended the node by itself, when one does. It is nil while the node is down.
func (n *Node) Failed() <-chan error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node == nil {
		return nil
	}
	return n.node.Failed()
}

// Ports to listen on: below those that systems give to outgoing connections, or a client that
// tries to reconnect while the node is down could take the node's port.
const (
	lowestPort  = 10_240
	highestPort = 32_000
	portTries   = 64
)

// start starts the node on its address, which is chosen the first time and fixed from then on.
func (n *Node) start() {
	n.t.Helper()
	chosen := n.addr != ""
	for try := 0; ; try++ {
		if !chosen {
			port := lowestPort + (&clock.Real{}).Uint64()%(highestPort-lowestPort)
			n.addr = net.JoinHostPort("127.0.0.1", strconv.FormatUint(port, 10))
		}
		err := n.startOnce()
		if err == nil {
			return
		}
		if chosen || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			n.t.Fatalf("moldautest: starting the node: %v", err)
		}
	}
}

func (n *Node) startOnce() error {
	cfg, _, err := config.Load(n.sources())
	if err != nil {
		return err
	}
	var fs vfs.FS = vfs.NewOS()
	if n.sim != nil {
		fs = n.sim.Mount()
	}
	n.mute(false)
	world := &clock.Real{}
	running, err := node.Start(node.Options{Config: cfg, FS: fs, World: world, Logger: n.o.Logger})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node, n.world = running, world
	return nil
}

// take makes the caller the one who ends the node; nil when it is down.
func (n *Node) take() (*node.Node, *clock.Real) {
	n.mu.Lock()
	defer n.mu.Unlock()
	running, world := n.node, n.world
	n.node, n.world = nil, nil
	return running, world
}

func (n *Node) cleanup() {
	n.Stop()
	n.mute(true)
}

// sources are the settings of the node.
func (n *Node) sources() config.Sources {
	settings := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          "1",
		"log.dirs":                                         filepath.ToSlash(n.dir),
		"listeners":                                        "PLAINTEXT://" + n.addr + ",CONTROLLER://" + net.JoinHostPort("127.0.0.1", "0"),
		"controller.listener.names":                        "CONTROLLER",
		"controller.quorum.bootstrap.servers":              "127.0.0.1:9093",
		"offsets.topic.num.partitions":                     "1",
		"offsets.topic.replication.factor":                 "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"transaction.state.log.num.partitions":             "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
	}
	maps.Copy(settings, n.o.Settings)
	var file strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		file.WriteString(key + "=" + settings[key] + "\n")
	}
	return config.Sources{File: []byte(file.String()), FileName: "moldautest.Options"}
}

// testLog writes a node's log to the test's, until the test is over.
type testLog struct{ t *Node }

// Write logs one line.
func (l *testLog) Write(line []byte) (int, error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if !l.t.muted {
		l.t.t.Log(strings.TrimRight(string(line), "\n"))
	}
	return len(line), nil
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
