package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau"
)

// TestScripts runs testdata/*.txtar against a real node, one for each script. A script has
//
//	moldau ARG… [< FILE]    run the command line; it must end with 0, with ! in front with 1
//	misuse ARG… [< FILE]    run it; it must end with 2
//	node stop | node start  stop and start the node on $ADDR, whose data is in data/
//	node set KEY=VALUE…     have the node start with these settings too from now on
//	share TOPIC GROUP N     take and accept N records as a member of a share group, then leave
//	stay TOPIC GROUP TYPE   be a member of a group until the script ends: classic, consumer, share or streams
//	open TOPIC ID           write a record to partition 0 within a transaction, and leave it open
//	emptied FILE FIRST LAST append a batch of these offsets without records, as compaction leaves it
//
// beside testscript's own commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			n := &scriptNode{dir: filepath.Join(e.WorkDir, "data"), addr: "127.0.0.1:0", settings: map[string]string{
				"offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "0", "group.streams.initial.rebalance.delay.ms": "0",
			}}
			e.Values[nodeKey{}] = n
			e.Defer(n.stop)
			if err := n.start(); err != nil {
				return err
			}
			e.Setenv("ADDR", n.addr)
			e.Setenv("HTTP", n.node.HTTPAddr())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"moldau": func(ts *testscript.TestScript, neg bool, args []string) {
				want := exitOK
				if neg {
					want = exitFailure
				}
				runScripted(ts, want, args)
			},
			"misuse":  func(ts *testscript.TestScript, _ bool, args []string) { runScripted(ts, exitUsage, args) },
			"node":    nodeScripted,
			"emptied": emptiedScripted,
			"share":   shareScripted,
			"stay":    stayScripted,
			"open":    openScripted,
		},
	})
}

func runScripted(ts *testscript.TestScript, want int, args []string) {
	var in io.Reader = strings.NewReader("")
	if n := len(args); n >= 2 && args[n-2] == "<" {
		in = strings.NewReader(ts.ReadFile(args[n-1]))
		args = args[:n-2]
	}
	for i, a := range args {
		if strings.HasPrefix(a, "data") {
			args[i] = ts.MkAbs(a)
		}
	}
	var out, err bytes.Buffer
	code := run(args, env{in: in, out: &out, err: &err})
	_, _ = ts.Stdout().Write(out.Bytes())
	_, _ = ts.Stderr().Write(err.Bytes())
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
	if code != exitOK && err.Len() == 0 {
		ts.Fatalf("it failed and said nothing")
	}
}

type nodeKey struct{}

// scriptNode is the node of a script.
type scriptNode struct {
	dir, addr string
	node      *moldau.Node
	settings  map[string]string
}

// start starts the node, the first time on a port below those that systems give to outgoing
// connections: one of them could take it while the node is down.
func (n *scriptNode) start() (err error) {
	chosen := n.addr != "127.0.0.1:0"
	for range 64 {
		if !chosen {
			n.addr = fmt.Sprintf("127.0.0.1:%d", 10_240+rand.IntN(20_000))
		}
		if err = n.startOnce(); chosen || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return err
}

func (n *scriptNode) startOnce() (err error) {
	_, port, err := net.SplitHostPort(n.addr)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	n.node, err = moldau.Start(moldau.Options{
		Dir: n.dir, Addr: n.addr, HTTPAddr: fmt.Sprintf("127.0.0.1:%d", number+2), Logger: slog.New(slog.DiscardHandler),
		Settings: n.settings,
	})
	return err
}

func (n *scriptNode) stop() {
	if n.node != nil {
		_ = n.node.Close() // the script has its verdict
		n.node = nil
	}
}

func nodeScripted(ts *testscript.TestScript, _ bool, args []string) {
	n := ts.Value(nodeKey{}).(*scriptNode)
	if len(args) > 1 && args[0] == "set" {
		for _, pair := range args[1:] {
			key, value, _ := strings.Cut(pair, "=")
			n.settings[key] = value
		}
		return
	}
	switch strings.Join(args, " ") {
	case "stop":
		n.stop()
	case "start":
		ts.Check(n.start())
	default:
		ts.Fatalf("usage: node stop | node start | node set KEY=VALUE…")
	}
}

func shareScripted(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[2])
	ts.Check(err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("ADDR")), kgo.ConsumeTopics(args[0]), kgo.ShareGroup(args[1]))
	ts.Check(err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for got := 0; got < want; {
		fetches := cl.PollFetches(ctx)
		ts.Check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { r.Ack(kgo.AckAccept) })
		got += fetches.NumRecords()
	}
	ts.Check(cl.FlushAcks(ctx))
}

// stayScripted joins a group and stays until the script has ended.
func stayScripted(ts *testscript.TestScript, _ bool, args []string) {
	if args[2] == streamsGroup {
		streamScripted(ts, args[0], args[1])
		return
	}
	opts := []kgo.Opt{kgo.SeedBrokers(ts.Getenv("ADDR")), kgo.ConsumeTopics(args[0]), kgo.ClientID("stays")}
	if args[2] == shareGroup {
		opts = append(opts, kgo.ShareGroup(args[1]))
	} else {
		opts = append(opts, kgo.ConsumerGroup(args[1]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	ctx := context.Background()
	if args[2] == consumerGroup {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //nolint:staticcheck // so the client wants it
		opts = append(opts, kgo.WithContext(ctx))
	}
	cl, err := kgo.NewClient(opts...)
	ts.Check(err)
	ts.Defer(cl.Close)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ts.Check(cl.PollFetches(ctx).Err())
}

// maxHeartbeats is how often a member of a streams group asks for tasks.
const maxHeartbeats = 1000

// streamScripted is a member of a streams group that reads a topic: it has told its tasks as its own, and nobody hears of it again.
func streamScripted(ts *testscript.TestScript, topic, group string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("ADDR")), kgo.ClientID("streams"))
	ts.Check(err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	sub := kmsg.NewStreamsGroupHeartbeatRequestTopologySubtopology()
	sub.SubtopologyID, sub.SourceTopics = "0", []string{topic}
	process := "process"
	req.Group, req.MemberID, req.RebalanceTimeoutMillis, req.ProcessID = group, "AAAAAAAAAAAAAAAAAAAAAQ", 60_000, &process
	req.Topology = &kmsg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{sub}}
	req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = []kmsg.TaskIDs{}, []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	for range maxHeartbeats {
		resp, err := req.RequestWith(ctx, cl.Broker(1)) // the client does not route it
		ts.Check(err)
		ts.Check(codeError(resp.ErrorCode, resp.ErrorMessage))
		owned := len(req.ActiveTasks)
		req.MemberEpoch, req.Topology, req.ProcessID, req.RebalanceTimeoutMillis = resp.MemberEpoch, nil, nil, -1
		if resp.ActiveTasks != nil {
			req.ActiveTasks = resp.ActiveTasks
		}
		if owned > 0 {
			return
		}
	}
	ts.Fatalf("no tasks after %d heartbeats", maxHeartbeats)
}

func emptiedScripted(ts *testscript.TestScript, _ bool, args []string) {
	first, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	last, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	b := head2(first, last, 0, -1, 0)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	path := ts.MkAbs(args[0])
	old, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, append(old, b...), 0o600))
}

// openScripted begins a transaction and goes away.
func openScripted(ts *testscript.TestScript, _ bool, args []string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("ADDR")), kgo.TransactionalID(args[1]), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ts.Check(err)
	defer cl.Close()
	ts.Check(cl.BeginTransaction())
	ts.Check(cl.ProduceSync(context.Background(), &kgo.Record{Topic: args[0], Value: []byte("open")}).FirstErr())
}
