// Package sim runs whole nodes on one goroutine from one seed, with a disk
// that loses what was not synced, and checks that nothing acknowledged is lost.
//
// Duty: a [Rig] is a node on a simulated disk and a hand-driven clock, reached
// by request bytes as a client would send them. A run produces, reads, and
// crashes the node at any point: process kill, power cut between or inside any
// two operations of the disk. After each restart the log is read back and held
// against what clients were told.
//
// Beside that run there are five with workloads of their own: transactions that
// copy, transactions that move money, groups of both protocols, share groups, and
// keys that are compacted.
//
// Invariants: same seed, same run, to the byte; a failing seed is replayed with
// `go test ./internal/sim -run TestSeeds -seed N -v`. A run that reached no
// crash or acknowledged nothing fails as vacuous.
//
// It must never sleep, start a goroutine or ask the machine for time or chance.
package sim

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node"
)

// maxPatience is how long, in simulated time, a call may take.
const maxPatience = time.Minute

// errNoAnswer is what a call gets whose node died on the way.
var errNoAnswer = errors.New("the node died before it answered")

// Rig is one node in its simulated world. It outlives crashes of the node.
type Rig struct {
	seed  uint64
	lives uint64
	disk  *vfs.Sim
	hand  *clock.Hand
	node  *node.Node
	conn  *edge.DirectConn
	next  int32
	// dialled counts connections.
	dialled uint64
	log     *slog.Logger
	// dirs are the data directories.
	dirs string
	// own are settings of this rig, beside those of every node.
	own config.Values
}

// NewRig makes a world with an empty disk and no node running.
func NewRig(seed uint64, log *slog.Logger) *Rig {
	r := &Rig{seed: seed, log: log, dirs: "/data"}
	sector := vfs.Sector512
	if seed%4 == 3 {
		sector = vfs.Sector4K
	}
	r.disk = vfs.NewSim(vfs.SimConfig{Seed: seed, SectorBytes: sector})
	return r
}

// settings are those of a single node; small files make a short run cross every border.
var settings = config.Values{
	"process.roles": "broker,controller", "node.id": "1",
	"listeners":                 "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
	"controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": "localhost:9093",
	"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "2",
	"log.segment.bytes": "1048576", "log.index.interval.bytes": "512",
	"moldau.journal.segment.bytes": "1048576", "moldau.tail.bytes": "1048576",
	"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0",
	"transaction.state.log.replication.factor": "1", "transaction.state.log.num.partitions": "2",
}

// Boot starts the node on what the disk holds. It fails with the disk's error
// when the crash that the caller has planned falls into the start.
func (r *Rig) Boot() error {
	r.lives++
	old := r.hand
	r.hand = clock.NewHand(r.seed<<16 ^ r.lives)
	if old != nil {
		r.hand.Advance(old.Now().Sub(r.hand.Now()) + time.Second)
	}
	values := maps.Clone(settings)
	maps.Copy(values, r.own)
	values["log.dirs"] = r.dirs
	cfg, err := config.NewBroker(values)
	if err != nil {
		return err
	}
	var ready bool
	var failed error
	n, err := node.Begin(node.Options{Config: cfg, FS: r.disk.Mount(), World: r.hand, Logger: r.log, NoListeners: true},
		func(err error) { ready, failed = true, err })
	if err != nil {
		return err
	}
	r.node = n
	r.until(func() bool { return ready })
	if !ready {
		return errNoAnswer
	}
	if failed != nil {
		return failed
	}
	r.conn = r.dial()
	return nil
}

// until runs the world until cond holds or patience ends.
func (r *Rig) until(cond func() bool) {
	end := r.hand.Mono() + maxPatience
	for !cond() {
		if r.hand.RunOne() {
			continue
		}
		d, ok := r.hand.Next()
		if !ok || r.hand.Mono()+d > end {
			return
		}
		r.hand.Advance(d)
	}
}

// Kill ends the node as kill -9 does.
func (r *Rig) Kill() {
	r.hand.Kill()
	r.disk.Crash()
}

// PowerCut ends the node by pulling the plug.
func (r *Rig) PowerCut() {
	r.hand.Kill()
	r.disk.PowerCut(vfs.Mix)
}

// Stop stops the node cleanly.
func (r *Rig) Stop() error {
	var stopped bool
	var failed error
	r.node.Stop(func(err error) { stopped, failed = true, err })
	r.until(func() bool { return stopped })
	if !stopped {
		return errors.New("the node does not stop")
	}
	return failed
}

// Send sends a request; done gets the answer with its header, or an error when there
// will be none.
func (r *Rig) Send(m wire.Message, version int16, done func(response []byte, err error)) {
	r.sendOn(r.conn, m, version, done)
}

// dial makes one more connection to the node.
func (r *Rig) dial() *edge.DirectConn {
	conn := edge.NewDirect(r.node.Handler(), "PLAINTEXT")
	r.dialled++
	conn.SetID(r.dialled)
	return conn
}

func (r *Rig) sendOn(conn *edge.DirectConn, m wire.Message, version int16, done func(response []byte, err error)) {
	r.next++
	h := wire.RequestHeader{APIKey: m.APIKey(), APIVersion: version, CorrelationID: r.next}
	frame := wire.AppendRequestFrame(nil, &h, m)[4:]
	conn.Send(frame, func(response []byte, err error) {
		if err != nil || response == nil {
			done(nil, errors.Join(errNoAnswer, err))
			return
		}
		done(response, nil)
	})
}

// Call sends a request and runs the world until it is answered.
func (r *Rig) Call(m wire.Message, version int16, into wire.Message) error {
	var answered bool
	var failed error
	r.Send(m, version, func(b []byte, err error) {
		answered, failed = true, err
		if err == nil {
			failed = decode(b, m.APIKey(), version, into)
		}
	})
	r.until(func() bool { return answered })
	if !answered {
		return fmt.Errorf("%s: %w", wire.APIName(m.APIKey()), errNoAnswer)
	}
	return failed
}

// decode reads an answer.
func decode(response []byte, key, version int16, into wire.Message) error {
	rd := wire.NewReader(response)
	if _, err := wire.DecodeResponseHeader(rd, key, version); err != nil {
		return err
	}
	into.Decode(rd, version)
	return rd.Finish()
}
