package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Names of the two brokers.
const (
	moldauName = "moldau"
	kafkaName  = "kafka"
)

// readyLimit and stopLimit bound how long a broker may take to serve and to stop.
const (
	readyLimit = 90 * time.Second
	stopLimit  = 60 * time.Second
)

// settings is the server.properties that both brokers are started with.
const settings = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:%[2]d
listeners=PLAINTEXT://localhost:%[1]d,CONTROLLER://localhost:%[2]d
advertised.listeners=PLAINTEXT://localhost:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=100
log.cleaner.backoff.ms=500
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.streams.min.heartbeat.interval.ms=500
group.streams.heartbeat.interval.ms=500
group.streams.initial.rebalance.delay.ms=100
group.share.min.heartbeat.interval.ms=500
group.share.heartbeat.interval.ms=500
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
`

// broker is one broker process and its data directory, which outlives the process.
type broker struct {
	s          *suite
	name       string // moldauName or kafkaName
	addr       string
	dir        string
	properties string
	jvm        []string // options of Kafka's virtual machine, before the class
	format     []string // more arguments of the tool that formats the directory; none: Moldau does it by itself
	cmd        *exec.Cmd
	done       chan error
}

// freePort finds a port that nobody listens on.
func (s *suite) freePort() (int, error) {
	for range 500 {
		s.ports++
		l, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", s.ports))
		if err == nil {
			return s.ports, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d: choose others with -port", s.ports-500, s.ports)
}

// broker prepares a broker with a new and empty directory, without starting it.
func (s *suite) broker(name, label string) (*broker, error) { return s.brokerWith(name, label, "") }

// brokerWith prepares a broker whose server.properties has more lines, which override the others.
func (s *suite) brokerWith(name, label, more string) (*broker, error) {
	port, err := s.freePort()
	if err != nil {
		return nil, err
	}
	controller, err := s.freePort()
	if err != nil {
		return nil, err
	}
	b := &broker{s: s, name: name, addr: fmt.Sprintf("localhost:%d", port), dir: filepath.Join(s.work, label),
		properties: filepath.Join(s.work, label+".properties")}
	return b, os.WriteFile(b.properties, fmt.Appendf(nil, settings+more, port, controller, b.dir), 0o644)
}

// as is the same directory and address, served by the other program.
func (b *broker) as(name string) *broker {
	o := *b
	o.name, o.cmd, o.done = name, nil, nil
	return &o
}

// start runs the broker and waits until it serves.
func (b *broker) start(ctx context.Context) error {
	log, err := os.OpenFile(b.dir+"."+b.name+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := b.formatted(ctx); err != nil {
		return err
	}
	if b.name == moldauName {
		b.cmd = exec.Command(b.s.moldau, "start", "--config", b.properties)
	} else {
		b.cmd = b.s.java(context.Background(), append(slices.Clone(b.jvm), "kafka.Kafka", b.properties)...)
	}
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(b.cmd, b.done)
	if err := b.ready(ctx); err != nil {
		b.kill()
		tail, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s does not serve: %w\n%s", b.name, err, tail[max(0, len(tail)-2000):])
	}
	return nil
}

// formatted makes an empty directory a cluster's.
func (b *broker) formatted(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(b.dir, "meta.properties")); err == nil || b.name == moldauName && len(b.format) == 0 {
		return nil
	}
	args := append([]string{"format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", b.properties}, b.format...)
	cmd := exec.CommandContext(ctx, b.s.moldau, append([]string{"storage"}, args...)...)
	if b.name == kafkaName {
		cmd = b.s.java(ctx, append([]string{"kafka.tools.StorageTool"}, args...)...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s cannot format %s: %w\n%s", b.name, b.dir, err, out)
	}
	return nil
}

// ready asks for the broker list until there is one.
func (b *broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := b.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-b.done:
			b.done <- err
			return fmt.Errorf("it ended: %v", err)
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// offers are the APIs that tell whether a broker has a kind of group.
var offers = map[string]int16{"consumer": 68, "share": 78, "streams": 88}

// without names the kinds of groups that the broker does not offer, with commas between them.
func (b *broker) without(ctx context.Context) string {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return ""
	}
	defer cl.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, cl)
	if err != nil {
		return "" // the checks will tell
	}
	var names []string
	for name, key := range offers {
		if !slices.ContainsFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == key }) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func (b *broker) ping(ctx context.Context) error {
	c, err := net.DialTimeout("tcp", b.addr, time.Second)
	if err != nil {
		return err
	}
	c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return cl.Ping(ctx)
}

// stop asks the broker to stop and waits until it has.
func (b *broker) stop() error {
	if b.cmd == nil {
		return nil
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	defer func() { b.cmd = nil }()
	select {
	case err := <-b.done:
		if b.name == kafkaName && err != nil && strings.Contains(err.Error(), "143") {
			err = nil // the code of a virtual machine that SIGTERM ended in good order
		}
		return err
	case <-time.After(stopLimit):
		b.kill()
		return fmt.Errorf("%s did not stop in %v", b.name, stopLimit)
	}
}

// kill ends the broker with SIGKILL.
func (b *broker) kill() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.done
	b.cmd = nil
}
