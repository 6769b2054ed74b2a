package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

const (
	// hostiles is how many connections claim as much as they may and never say who they are.
	hostiles = 10_000
	// claimed is the largest request that is read before authentication (sasl.server.max.receive.size).
	claimed = 512 << 10
	// hostileBegin is what each sends at once, hostileDrip what each adds in a round over all of them.
	hostileBegin, hostileDrip = 4 << 10, 64
	// hostileWriters share the connections; each writes to hostilePiece of its own and pauses, so that a round takes a second.
	hostileWriters = 4
	hostilePiece   = 25
	hostilePause   = 10 * time.Millisecond
	// politePause is between two requests of the client that behaves.
	politePause = 2 * time.Millisecond
)

// hostileRow is what 10,000 peers do to a client that behaves, on one listener with SASL.
func hostileRow() *row {
	return &row{
		name: "hostile", arms: []arm{{ours, written}, {theirs, cached}}, rounds: 2, alone: true, measure: hostile,
		lines: []line{
			{what: "10,000 hostile connections before authentication: peak of resident memory", metric: "peak_mb", unit: "MB", ours: 0, theirs: 1, goal: goal{oursMost, 512}},
			{what: "another client's p99 meanwhile, by that before", metric: "p99_ratio", unit: "", ours: 0, theirs: 1, goal: goal{oursMost, 2}},
			{what: "another client's p99 before", metric: "p99_before_ms", unit: "ms", ours: 0, theirs: 1},
			{what: "another client's p99 meanwhile", metric: "p99_during_ms", unit: "ms", ours: 0, theirs: 1},
		},
	}
}

// hostile measures a client before and during the flood.
func hostile(b *bench, a arm, d time.Duration) (_ sample, err error) {
	v, addr, err := b.fleet.guarded(a.side)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.discard()) }()
	t, err := createTopic(v.addr, "polite", 1, a.durability.configs())
	if err != nil {
		return nil, v.explain(err)
	}
	c, err := dial(addr)
	if err == nil {
		err = c.login()
	}
	if err != nil {
		return nil, v.explain(err)
	}
	defer c.Close()
	if _, err := polite(c, t, d); err != nil { // so that the JVM has compiled what it runs
		return nil, v.explain(err)
	}
	before, err := polite(c, t, d)
	if err != nil {
		return nil, v.explain(err)
	}
	f := flood(addr)
	defer f.end()
	if err := eventually(setupTimeout, 50*time.Millisecond, f.complete); err != nil {
		return nil, v.explain(err)
	}
	during, err := polite(c, t, d)
	if err != nil {
		return nil, v.explain(err)
	}
	m, err := memoryOf(v.pid)
	if err != nil {
		return nil, v.explain(err)
	}
	s := sample{"peak_mb": m.peak, "refused": float64(f.lost.Load())}
	s["p99_before_ms"], s["p99_during_ms"] = before["p99_ms"], during["p99_ms"]
	s["p99_ratio"] = during["p99_ms"] / before["p99_ms"]
	return s, nil
}

// guarded starts a server with a listener that wants a password beside the usual one.
func (f *fleet) guarded(side side) (*server, string, error) {
	v, err := f.prepare(side, "hostile-"+side.String())
	if err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(v.config)
	if err != nil {
		return nil, "", err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", f.port)
	f.port++
	guarded := strings.NewReplacer("\nlisteners=", "\nlisteners=GUARDED://"+addr+",", "\nadvertised.listeners=", "\nadvertised.listeners=GUARDED://"+addr+",",
		"CONTROLLER:PLAINTEXT,", "CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT,").Replace(string(text)) +
		`sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_polite="please";
`
	if err := os.WriteFile(v.config, []byte(guarded), 0o666); err != nil {
		return nil, "", err
	}
	if err := v.start(); err != nil {
		return nil, "", err
	}
	if err := v.ready(); err != nil {
		return nil, "", errors.Join(err, v.kill())
	}
	return v, addr, nil
}

// login says who the client is.
func (c *conn) login() error {
	var hello wire.SaslHandshakeResponse
	if err := c.call(&wire.SaslHandshakeRequest{Mechanism: "PLAIN"}, &hello, 1); err != nil {
		return err
	}
	var done wire.SaslAuthenticateResponse
	err := c.call(&wire.SaslAuthenticateRequest{AuthBytes: []byte("\x00polite\x00please")}, &done, 2)
	if err == nil && (hello.ErrorCode != 0 || done.ErrorCode != 0) {
		err = fmt.Errorf("login: %v, %v: %s", hello.ErrorCode, done.ErrorCode, text(done.ErrorMessage))
	}
	return err
}

// polite produces one record at a time, in peace.
func polite(c *conn, t *topic, d time.Duration) (sample, error) {
	batch, err := newBatch(1, 1000)
	if err != nil {
		return nil, err
	}
	set, err := newRequestSet(t, 1, batch)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(politePause) {
		begun := time.Now()
		c.correlation++
		binary.BigEndian.PutUint32(set.frames[0][correlationAt:], uint32(c.correlation))
		if err := c.SetDeadline(begun.Add(callTimeout)); err != nil {
			return nil, err
		}
		if _, err := c.Write(set.frames[0]); err != nil {
			return nil, err
		}
		if _, err := c.response(); err != nil {
			return nil, err
		}
		var resp wire.ProduceResponse
		if err := c.decode(&resp, produceVersion, c.correlation); err != nil {
			return nil, err
		}
		if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code != 0 {
			return nil, fmt.Errorf("produce: %v", code)
		}
		took = append(took, time.Since(begun))
	}
	s := sample{}
	s.percentiles("", took)
	return s, nil
}

// flooding is the hostile connections.
type flooding struct {
	addr    string
	open    atomic.Int64 // connections made in the first round
	lost    atomic.Int64 // connections that the server has ended
	stopped chan struct{}
	writers sync.WaitGroup
}

func flood(addr string) *flooding {
	f := &flooding{addr: addr, stopped: make(chan struct{})}
	for range hostileWriters {
		f.writers.Add(1)
		go f.write()
	}
	return f
}

// complete says whether all connections were made once.
func (f *flooding) complete() error {
	if n := f.open.Load(); n < hostiles {
		return fmt.Errorf("%d of %d hostile connections are there", n, hostiles)
	}
	return nil
}

func (f *flooding) end() {
	close(f.stopped)
	f.writers.Wait()
}

// write keeps its share of the connections open and drips into them. One that the server ends is made anew.
func (f *flooding) write() {
	defer f.writers.Done()
	conns := make([]net.Conn, hostiles/hostileWriters)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close() // whatever it was about to say
			}
		}
	}()
	begin := wire.AppendRequestFrame(nil, &wire.RequestHeader{APIKey: wire.KeySaslHandshake, APIVersion: 1, ClientID: clientID}, &wire.SaslHandshakeRequest{})
	binary.BigEndian.PutUint32(begin, claimed)
	begin = append(begin, make([]byte, hostileBegin-len(begin))...)
	for {
		for i, c := range conns {
			if i%hostilePiece == 0 {
				select {
				case <-f.stopped:
					return
				case <-time.After(hostilePause):
				}
			}
			if c != nil {
				if _, err := c.Write(begin[:hostileDrip]); err != nil {
					_ = c.Close() // it is lost already
					f.lost.Add(1)
					conns[i] = nil
				}
				continue
			}
			c, err := net.DialTimeout("tcp", f.addr, callTimeout)
			if err != nil {
				continue // the next round tries again
			}
			_, _ = c.Write(begin) // the next round sees what became of it
			f.open.Add(1)
			conns[i] = c
		}
	}
}
