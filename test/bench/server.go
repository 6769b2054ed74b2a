package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// side is one of the two that are compared.
type side int

const (
	ours side = iota
	theirs
)

func (s side) String() string {
	if s == ours {
		return "moldau"
	}
	return "kafka"
}

const (
	kafkaVersion = "4.3.1"
	stopTimeout  = 60 * time.Second
	lastWords    = 30 // lines
	// clusterID is any id: Kafka wants one to format its directory with.
	clusterID = "bW9sZGF1LWJlbmNoLWlkMA"
)

// fleet starts servers.
type fleet struct {
	moldau   string // the binary
	kafkaLib string // directory of Kafka's jars; empty without Kafka
	dir      string // where data and logs go
	port     int    // the next one free
	secure   bool   // servers that are prepared now have clients that use TLS

	mu      sync.Mutex // guards running
	running []*server
}

// server is a child process.
type server struct {
	side side
	addr string
	dir  string
	log  string
	pid  int

	fleet  *fleet
	config string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone
}

// properties is the same for both, so that each keeps its own defaults for everything else.
func properties(dir string, port int) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[3]d
listeners=PLAINTEXT://127.0.0.1:%[2]d,CONTROLLER://127.0.0.1:%[3]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%[1]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.max.size=10000
group.consumer.max.size=10000
`, dir, port, port+1)
}

// launch prepares a server, starts it and waits until it answers.
func (f *fleet) launch(s side, name string) (*server, error) {
	v, err := f.prepare(s, name+s.String())
	if err != nil {
		return nil, err
	}
	return v, errors.Join(v.start(), v.ready())
}

// prepare makes a server with an empty data directory that is ready to be started. Formatting Kafka's directory, a
// process of its own there, happens here and is counted nowhere.
func (f *fleet) prepare(s side, name string) (*server, error) {
	if s == theirs && f.kafkaLib == "" {
		return nil, errors.New("no Kafka to compare with")
	}
	home := filepath.Join(f.dir, name)
	if err := os.RemoveAll(home); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(home, 0o777); err != nil {
		return nil, err
	}
	v := &server{
		side: s, fleet: f, addr: fmt.Sprintf("127.0.0.1:%d", f.port), dir: filepath.Join(home, "data"),
		log: filepath.Join(home, "log"), config: filepath.Join(home, "server.properties"),
	}
	text := properties(v.dir, f.port)
	f.port += 2
	if f.secure {
		var err error
		if text, err = f.secured(text); err != nil {
			return nil, err
		}
		v.addr = overTLS + v.addr
	}
	if err := os.WriteFile(v.config, []byte(text), 0o666); err != nil {
		return nil, err
	}
	if s == theirs {
		out, err := f.java("kafka.tools.StorageTool", "format", "-t", clusterID, "-c", v.config).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("format Kafka's directory: %w: %s", err, out)
		}
	}
	return v, nil
}

// java runs a class of Kafka's with the collector and heap of the comparison.
func (f *fleet) java(args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{
		"-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(f.kafkaLib, "*"),
	}, args...)...)
}

// start starts the process and does not wait for it to serve.
func (v *server) start() error {
	if v.side == ours {
		v.cmd = exec.Command(v.fleet.moldau, "start", "--config", v.config)
	} else {
		v.cmd = v.fleet.java("kafka.Kafka", v.config)
	}
	log, err := os.OpenFile(v.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	v.cmd.Stdout, v.cmd.Stderr = log, log
	tie(v.cmd)
	if err := v.cmd.Start(); err != nil {
		return fmt.Errorf("start %v: %w", v.side, err)
	}
	v.pid = v.cmd.Process.Pid
	v.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // how it ended shows in its log
		close(ended)
	}(v.cmd, v.ended)
	v.fleet.mu.Lock()
	v.fleet.running = append(v.fleet.running, v)
	v.fleet.mu.Unlock()
	return nil
}

// ready waits until the server answers.
func (v *server) ready() error {
	return eventually(setupTimeout, 10*time.Millisecond, func() error {
		var resp wire.MetadataResponse
		if err := ask(v.addr, &wire.MetadataRequest{Topics: []wire.MetadataRequestTopic{}}, &resp, metadataVersion); err != nil {
			return v.explain(err)
		}
		if len(resp.Brokers) == 0 {
			return fmt.Errorf("%v knows of no broker", v.side)
		}
		return nil
	})
}

// explain adds to an error, when the process is gone, its last words: from a panic on, or else the end of the log.
func (v *server) explain(err error) error {
	select {
	case <-v.ended:
	default:
		return err
	}
	text, _ := os.ReadFile(v.log) // without a log there is less to say
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	from := slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") || strings.HasPrefix(l, "WARNING: DATA RACE")
	})
	if from < 0 {
		from = max(0, len(lines)-lastWords)
	}
	words := strings.Join(lines[from:min(len(lines), from+lastWords)], "\n")
	return &finalError{fmt.Errorf("%v has ended (%v): %w\n%s", v.side, v.cmd.ProcessState, err, words)}
}

// stop ends the process as its operator would, and ours must say that it went well; the JVM's status only repeats the
// signal.
func (v *server) stop() error {
	err := v.signal(syscall.SIGTERM)
	if err == nil && v.side == ours && !v.cmd.ProcessState.Success() {
		err = v.explain(errors.New("it did not stop cleanly"))
	}
	return err
}

// kill takes the process's life.
func (v *server) kill() error { return v.signal(syscall.SIGKILL) }

func (v *server) signal(sig syscall.Signal) error {
	_ = v.cmd.Process.Signal(sig) // it may be gone already
	select {
	case <-v.ended:
	case <-time.After(stopTimeout):
		_ = v.cmd.Process.Kill()
		<-v.ended
		return fmt.Errorf("%v had not stopped %v after %v", v.side, stopTimeout, sig)
	}
	return nil
}

// discard stops the server and deletes its data.
func (v *server) discard() error {
	err := v.stop()
	return errors.Join(err, os.RemoveAll(filepath.Dir(v.dir)))
}

// close ends whatever still runs.
func (f *fleet) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.running {
		_ = v.cmd.Process.Kill() // it may have ended
		<-v.ended
	}
}

// pom asks Maven for Kafka's broker and a logger.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>bench</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%s</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
`

// installKafka gives the directory of Kafka's jars, and fetches them with Maven the first time.
func installKafka(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "moldau-bench", "kafka-"+kafkaVersion)
	lib, done := filepath.Join(dir, "lib"), filepath.Join(dir, "complete")
	if _, err := os.Stat(done); err == nil {
		return lib, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, pom, kafkaVersion), 0o666); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", file, "dependency:copy-dependencies", "-DoutputDirectory="+lib).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("fetch Kafka's jars with Maven, or name a directory that has them with -kafka: %w: %s", err, out)
	}
	return lib, os.WriteFile(done, nil, 0o666)
}

// buildMoldau builds the server into dir.
func buildMoldau(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "moldau")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/moldau/moldau/cmd/moldau").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build moldau: %w: %s", err, out)
	}
	return bin, nil
}
