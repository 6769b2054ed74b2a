package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of one step of the Connect run, and how often it looks.
const (
	connectLimit = 4 * time.Minute
	connectPause = 100 * time.Millisecond
	connectLines = 500 // written to the file at a time

	workerStopLimit = 2 * time.Minute
)

// workerSettings is the worker's configuration: an ordinary distributed one, with short times so that a run is short. A task
// that is stopped may take a minute: one that is given up after the ordinary five seconds of a busy machine has not committed
// what it did, and lines come twice.
const workerSettings = `bootstrap.servers=%[1]s
group.id=compat-connect
listeners=http://localhost:%[2]d
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
offset.storage.partitions=5
status.storage.replication.factor=1
status.storage.partitions=3
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.flush.interval.ms=500
scheduled.rebalance.max.delay.ms=0
task.shutdown.graceful.timeout.ms=60000
offset.flush.timeout.ms=60000
plugin.discovery=only_scan
plugin.path=%[3]s
`

// connect is a Connect worker on one broker, with the files that its connectors read and write.
type connect struct {
	s          *suite
	b          *broker
	url        string
	dir        string
	properties string
	cmd        *exec.Cmd
	written    int // lines in the source's file
}

// connectPart runs a stock distributed worker with the file connectors on every chosen broker, side by side. What Kafka fails
// is the worker's or the machine's doing, since nothing of ours takes part; it is tried once more.
func (s *suite) connectPart(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, name := range s.brokers {
		c, err := s.connect(name, "connect-"+name)
		if err != nil {
			return err
		}
		wg.Go(func() {
			ends := c.run(ctx)
			if i := slices.IndexFunc(ends, func(e stepEnd) bool { return e.err != nil }); i >= 0 && name == kafkaName {
				fmt.Printf("Connect on %s is tried once more: %s: %v\n", name, ends[i].what, ends[i].err)
				if again, err := s.connect(name, "connect-again-"+name); err == nil {
					ends = again.run(ctx)
				}
			}
			for _, e := range ends {
				s.report.check("Connect on "+name+": "+e.what, e.err)
			}
		})
	}
	wg.Wait()
	return nil
}

// stepEnd is how one step ended.
type stepEnd struct {
	what string
	err  error
}

func (s *suite) connect(name, label string) (*connect, error) {
	b, err := s.broker(name, label)
	if err != nil {
		return nil, err
	}
	port, err := s.freePort()
	if err != nil {
		return nil, err
	}
	c := &connect{s: s, b: b, url: fmt.Sprintf("http://localhost:%d", port), dir: filepath.Join(s.work, label+"-files")}
	c.properties = filepath.Join(c.dir, "worker.properties")
	plugins := filepath.Join(c.dir, "plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return nil, err
	}
	jars, err := filepath.Glob(filepath.Join(s.dir("java"), "lib", "connect-file-*.jar"))
	if err != nil || len(jars) != 1 {
		return nil, fmt.Errorf("the file connectors are %v (%v)", jars, err)
	}
	if err := copyFile(jars[0], filepath.Join(plugins, filepath.Base(jars[0]))); err != nil {
		return nil, err
	}
	return c, os.WriteFile(c.properties, fmt.Appendf(nil, workerSettings, b.addr, port, plugins), 0o644)
}

// run takes the steps in order; a step that fails ends the run, for those behind it need what it does.
func (c *connect) run(ctx context.Context) (ends []stepEnd) {
	if err := c.b.start(ctx); err != nil {
		return []stepEnd{{"the broker starts", err}}
	}
	defer c.stopWorker()
	steps := []struct {
		what string
		do   func(ctx context.Context) error
	}{
		{"a distributed worker starts and makes its three internal topics", c.startWorker},
		{"connectors are created and lines go from file to topic to file", c.create},
		{"the worker is restarted and goes on where it was", c.restartWorker},
		{"the broker is killed and started; the worker goes on", c.restartBroker},
		{"connectors are paused, changed and resumed", c.change},
		{"connectors are deleted, and their group after them", c.remove},
	}
	for i, step := range steps {
		stepCtx, cancel := context.WithTimeout(ctx, connectLimit)
		err := step.do(stepCtx)
		cancel()
		ends = append(ends, stepEnd{step.what, err})
		if err != nil {
			for _, left := range steps[i+1:] {
				ends = append(ends, stepEnd{left.what, errors.New("not tried: the step before it failed")})
			}
			break
		}
	}
	c.stopWorker()
	return append(ends, stepEnd{"the broker stops in good order", c.b.stop()})
}

// startWorker starts the worker's process and waits until it answers, which it does when it has joined its group and
// read its topics.
func (c *connect) startWorker(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(c.dir, "worker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = c.s.java(context.Background(), "org.apache.kafka.connect.cli.ConnectDistributed", c.properties)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	if err := c.until(ctx, "the worker answers", func() error {
		var names []string
		return c.rest(ctx, http.MethodGet, "/connectors", nil, &names)
	}); err != nil {
		return err
	}
	return c.internalTopics(ctx)
}

func (c *connect) internalTopics(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	names := map[string]int{"connect-configs": 1, "connect-offsets": 5, "connect-status": 3}
	topics, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return err
	}
	for name, partitions := range names {
		if got := len(topics[name].Partitions); got != partitions {
			return fmt.Errorf("topic %s has %d partitions, not %d", name, got, partitions)
		}
		configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, name)
		if err != nil {
			return err
		}
		for _, e := range configs[0].Configs {
			if e.Key == "cleanup.policy" && e.MaybeValue() != "compact" {
				return fmt.Errorf("topic %s has cleanup.policy %q", name, e.MaybeValue())
			}
		}
	}
	return nil
}

// stopWorker ends the worker as its operator would.
func (c *connect) stopWorker() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	kill := time.AfterFunc(workerStopLimit, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait() // the virtual machine's status only repeats the signal
	kill.Stop()
	c.cmd = nil
}

// rest asks the worker; answers of 400 and more are errors.
func (c *connect) rest(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// until tries until it works; the last error tells why it never did.
func (c *connect) until(ctx context.Context, what string, try func() error) error {
	tick := time.NewTicker(connectPause)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("never happened: %s: %w", what, err)
		}
	}
}

func (c *connect) file(name string) string { return filepath.Join(c.dir, name) }

// write adds lines to the source's file.
func (c *connect) write() error {
	f, err := os.OpenFile(c.file("in.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	var text strings.Builder
	for range connectLines {
		c.written++
		fmt.Fprintf(&text, "line %d\n", c.written)
	}
	_, err = f.WriteString(text.String())
	return errors.Join(err, f.Close())
}

// arrived waits until the sink's file has all lines, in order, and each once if so is asked.
func (c *connect) arrived(ctx context.Context, once bool) error {
	return c.until(ctx, "all lines in the sink's file", func() error {
		text, err := os.ReadFile(c.file("out.txt"))
		if err != nil {
			return err
		}
		got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		seen := map[string]bool{}
		next := 1
		for _, l := range got {
			if seen[l] {
				if once {
					return fmt.Errorf("%q is there again", l)
				}
				continue
			}
			if want := fmt.Sprintf("line %d", next); l != want {
				return fmt.Errorf("%q is where %q belongs", l, want)
			}
			seen[l] = true
			next++
		}
		if next != c.written+1 {
			return fmt.Errorf("%d lines arrived, %d were written", next-1, c.written)
		}
		return nil
	})
}

func (c *connect) source() map[string]string {
	return map[string]string{"connector.class": "FileStreamSource", "tasks.max": "1", "file": c.file("in.txt"), "topic": "connect-lines"}
}

func (c *connect) sink() map[string]string {
	return map[string]string{"connector.class": "FileStreamSink", "tasks.max": "2", "file": c.file("out.txt"), "topics": "connect-lines"}
}

// create makes the topic's two connectors and sends the first lines through.
func (c *connect) create(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "connect-lines"); err != nil {
		return err
	}
	if err := c.write(); err != nil {
		return err
	}
	for name, config := range map[string]map[string]string{"source": c.source(), "sink": c.sink()} {
		if err := c.rest(ctx, http.MethodPost, "/connectors", map[string]any{"name": name, "config": config}, nil); err != nil {
			return err
		}
	}
	if err := c.arrived(ctx, true); err != nil {
		return err
	}
	return errors.Join(c.state(ctx, "source", "RUNNING"), c.state(ctx, "sink", "RUNNING"))
}

// state waits until a connector and its tasks are in a state, which travels through the status topic.
func (c *connect) state(ctx context.Context, name, want string) error {
	return c.until(ctx, name+" is "+want, func() error {
		var status struct {
			Connector struct{ State string }
			Tasks     []struct{ State, Trace string }
		}
		if err := c.rest(ctx, http.MethodGet, "/connectors/"+name+"/status", nil, &status); err != nil {
			return err
		}
		if status.Connector.State != want || len(status.Tasks) == 0 {
			return fmt.Errorf("the connector is %s with %d tasks", status.Connector.State, len(status.Tasks))
		}
		for _, t := range status.Tasks {
			if t.State != want {
				return fmt.Errorf("a task is %s: %s", t.State, t.Trace)
			}
		}
		return nil
	})
}

// restartWorker stops the worker in good order: it commits what it did, so that nothing comes twice.
func (c *connect) restartWorker(ctx context.Context) error {
	c.stopWorker()
	if err := c.write(); err != nil {
		return err
	}
	if err := c.startWorker(ctx); err != nil {
		return err
	}
	return c.arrived(ctx, true)
}

// restartBroker kills the broker under the worker. Lines may come twice then, as Connect says.
func (c *connect) restartBroker(ctx context.Context) error {
	c.b.kill()
	if err := c.write(); err != nil {
		return err
	}
	if err := c.b.start(ctx); err != nil {
		return err
	}
	if err := c.arrived(ctx, false); err != nil {
		return err
	}
	return errors.Join(c.state(ctx, "source", "RUNNING"), c.state(ctx, "sink", "RUNNING"))
}

// change pauses the sink, asks for the offsets that it committed, changes and resumes it.
func (c *connect) change(ctx context.Context) error {
	if err := c.rest(ctx, http.MethodPut, "/connectors/sink/pause", nil, nil); err != nil {
		return err
	}
	if err := c.state(ctx, "sink", "PAUSED"); err != nil {
		return err
	}
	if err := c.write(); err != nil {
		return err
	}
	var offsets struct{ Offsets []json.RawMessage }
	for _, name := range []string{"source", "sink"} {
		if err := c.rest(ctx, http.MethodGet, "/connectors/"+name+"/offsets", nil, &offsets); err != nil {
			return err
		}
		if len(offsets.Offsets) == 0 {
			return fmt.Errorf("%s has no offsets", name)
		}
	}
	config := c.sink()
	config["tasks.max"] = "1"
	if err := c.rest(ctx, http.MethodPut, "/connectors/sink/config", config, nil); err != nil {
		return err
	}
	if err := c.rest(ctx, http.MethodPut, "/connectors/sink/resume", nil, nil); err != nil {
		return err
	}
	if err := c.arrived(ctx, false); err != nil {
		return err
	}
	return c.state(ctx, "sink", "RUNNING")
}

// remove deletes the connectors, and the group of the sink, which is empty then.
func (c *connect) remove(ctx context.Context) error {
	for _, name := range []string{"source", "sink"} {
		if err := c.rest(ctx, http.MethodDelete, "/connectors/"+name, nil, nil); err != nil {
			return err
		}
	}
	if err := c.until(ctx, "no connector is left", func() error {
		var names []string
		if err := c.rest(ctx, http.MethodGet, "/connectors", nil, &names); err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("there are %v", names)
		}
		return nil
	}); err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	if names := groups.Groups(); !slices.Contains(names, "connect-sink") || !slices.Contains(names, "compat-connect") {
		return fmt.Errorf("the groups are %v", names)
	}
	return c.until(ctx, "the sink's group is deleted", func() error {
		_, err := admin.DeleteGroup(ctx, "connect-sink")
		return err
	})
}
