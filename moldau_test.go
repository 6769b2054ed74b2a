package moldau_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau"
)

// options are those of a quiet node on a free port.
func options(dir string) moldau.Options {
	return moldau.Options{Dir: dir, Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
}

func start(t *testing.T, o moldau.Options) *moldau.Node {
	t.Helper()
	n, err := moldau.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil && !errors.Is(err, moldau.ErrClosed) {
			t.Error(err)
		}
	})
	return n
}

func TestRecordsOutliveTheNode(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		n := start(t, options(dir))
		cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("t"))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for got := 0; got <= i; {
			fetches := cl.PollFetches(t.Context())
			for _, r := range fetches.Records() {
				if string(r.Value) != fmt.Sprint(got) {
					t.Fatalf("life %d read %q at offset %d", i, r.Value, r.Offset)
				}
				got++
			}
		}
		cl.Close()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); !errors.Is(err, moldau.ErrClosed) {
			t.Errorf("a second Close gives %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
		t.Errorf("the stop was not clean: %v", err)
	}
}

// TestStartSaysWhatStandsInTheWay: each refusal is one sentence that names the thing.
func TestStartSaysWhatStandsInTheWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	foreign := func(text string) func(*testing.T, *moldau.Options) {
		return func(t *testing.T, o *moldau.Options) {
			if err := os.WriteFile(filepath.Join(o.Dir, "meta.properties"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	settings := func(pairs ...string) func(*testing.T, *moldau.Options) {
		return func(_ *testing.T, o *moldau.Options) {
			o.Settings = map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				o.Settings[pairs[i]] = pairs[i+1]
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, o *moldau.Options)
		want   []string
	}{
		{"port in use", func(_ *testing.T, o *moldau.Options) { o.Addr = taken.Addr().String() }, []string{taken.Addr().String(), "in use"}},
		{"no address of this machine", func(_ *testing.T, o *moldau.Options) { o.Addr = "203.0.113.1:9092" }, []string{"203.0.113.1:9092"}},
		{"another node's directory", foreign("version=1\ncluster.id=JN2VZ_BxQkWWHiUUoMfoUQ\nnode.id=7\ndirectory.id=t5h-Lc9PR8-jmSVcfONuSQ\n"), []string{"meta.properties", "7", "1"}},
		{"damaged meta.properties", foreign("version=9\n"), []string{"meta.properties", `"9"`}},
		{"a file where the directory should be", func(t *testing.T, o *moldau.Options) {
			o.Dir = filepath.Join(o.Dir, "file")
			if err := os.WriteFile(o.Dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"file"}},
		{"unknown setting", settings("log.retention.hurs", "3"), []string{"log.retention.hurs", "log.retention.hours"}},
		{"value of a wrong kind", settings("num.partitions", "many"), []string{"num.partitions", "many"}},
		{"contradiction", settings("listeners", "PLAINTEXT://127.0.0.1:0", "controller.listener.names", "CONTROLLER"), []string{"controller.listener.names", "CONTROLLER"}},
		{"nonsense in a file", func(_ *testing.T, o *moldau.Options) {
			o.Properties, o.PropertiesName = []byte("no.such.key=1\n"), "server.properties"
		}, []string{"server.properties", "no.such.key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t.TempDir())
			c.change(t, &o)
			n, err := moldau.Start(o)
			if err == nil {
				t.Fatal(errors.Join(errors.New("it starts"), n.Close()))
			}
			t.Log(err)
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

// holderEnv makes the test binary a process that holds a data directory.
const holderEnv = "MOLDAU_TEST_HOLD_DIRECTORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderEnv); dir != "" {
		hold(dir)
		return
	}
	os.Exit(m.Run())
}

// hold runs a node until its input ends.
func hold(dir string) {
	n, err := moldau.Start(options(dir))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // only its end matters
	if err := n.Close(); err != nil {
		os.Exit(1)
	}
}

func TestADirectoryBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command(os.Args[0]) //nolint:gosec // the test itself
	other.Env = append(os.Environ(), holderEnv+"="+dir)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	n, err := moldau.Start(options(dir))
	if err == nil {
		t.Error(errors.Join(errors.New("two processes share a directory"), n.Close()))
	} else if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("%q does not say who has the directory", err)
	}
	if err := errors.Join(in.Close(), other.Wait()); err != nil {
		t.Fatal(err)
	}
	start(t, options(dir)) // now it is free
}

func TestTwoNodesInOneProcess(t *testing.T) {
	dir := t.TempDir()
	first := start(t, options(dir))
	if _, err := moldau.Start(options(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second node on the directory: %v", err)
	}
	second := start(t, options(t.TempDir()))
	if first.Addr() == second.Addr() {
		t.Errorf("both are on %s", first.Addr())
	}
}
