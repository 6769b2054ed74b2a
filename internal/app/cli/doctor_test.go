package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// examine runs the checks of settings and of what follows from them on a doctor made for the test.
func examine(t *testing.T, set []string, run func(d *doctor)) []finding {
	t.Helper()
	d := &doctor{
		connection: &connection{env: env{out: new(bytes.Buffer), err: new(bytes.Buffer)}}, clock: &clock.Real{},
		nodeFlags: nodeFlags{dir: filepath.Join(t.TempDir(), "data"), set: set}, listen: defaultAddress, system: func(string) (string, bool) { return "", false },
	}
	d.checkSettings(nil)
	if run != nil {
		d.findings = nil
		run(d)
	}
	return d.findings
}

// expect wants a finding of a verdict with some words in it.
func expect(t *testing.T, found []finding, verdict, words string) {
	t.Helper()
	for _, f := range found {
		if f.Verdict == verdict && strings.Contains(f.Finding, words) {
			return
		}
	}
	t.Errorf("no %s with %q among %+v", verdict, words, found)
}

// insecure allows a node to be open to everybody.
const insecure = "moldau.insecure.listeners.allow=true"

func TestDoctorOnSettings(t *testing.T) {
	for _, c := range []struct {
		set            []string
		verdict, words string
	}{
		{nil, fine, "none is unsafe"},
		{[]string{"ack.durability=written"}, warning, "a power cut loses them"},
		{[]string{"unclean.leader.election.enable=true"}, warning, "lacks acknowledged records"},
		{[]string{"default.replication.factor=3", "min.insync.replicas=3"}, warning, "a single node that is down"},
		{[]string{"default.replication.factor=3"}, warning, "on one node only"},
		{[]string{"log.retention.ms=-1"}, warning, "the disk fills up"},
		{[]string{"socket.request.max.bytes=1000000"}, warning, "cannot get in"},
		{[]string{"listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:0", "advertised.listeners=PLAINTEXT://localhost:9092", insecure}, warning, "from every network"},
		{[]string{"listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:0", "advertised.listeners=PLAINTEXT://localhost:9092"}, failure, "add the line " + insecure},
		{[]string{"log.retention.hurs=3"}, failure, "log.retention.hours"},
		{[]string{"node.id=-3"}, failure, "node.id"},
		{[]string{"process.roles=broker"}, failure, "controller"},
	} {
		expect(t, examine(t, c.set, nil), c.verdict, c.words)
	}
}

func TestDoctorOnAddresses(t *testing.T) {
	wide := "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:0"
	expect(t, examine(t, nil, (*doctor).checkAdvertised), fine, "PLAINTEXT advertises localhost:9092")
	expect(t, examine(t, []string{wide, insecure, "advertised.listeners=PLAINTEXT://127.0.0.1:9092"}, (*doctor).checkAdvertised), warning, "connect to themselves")
	expect(t, examine(t, []string{wide, insecure, "advertised.listeners=PLAINTEXT://no.such.name.invalid:9092"}, (*doctor).checkAdvertised), failure, "cannot be resolved")
}

func TestDoctorOnDirectories(t *testing.T) {
	root := t.TempDir()
	dir := func(name string, files map[string]string) string {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(at, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return at
	}
	props := func(cluster, node, id string) map[string]string {
		return map[string]string{metaFile: "version=1\ncluster.id=" + cluster + "\nnode.id=" + node + "\ndirectory.id=" + id + "\n"}
	}
	a, b := dir("a", props("c1", "1", "d1")), dir("b", props("c2", "1", "d2"))
	copied, foreign := dir("copy", props("c1", "1", "d1")), dir("foreign", props("c1", "7", "d7"))
	alien, empty := dir("alien", map[string]string{"notes.txt": "hello"}), dir("empty", nil)
	closed := dir("closed", map[string]string{metaFile: "version=1\ncluster.id=c1\nnode.id=1\ndirectory.id=d9\n", ".kafka_cleanshutdown": "", "x-0-stray": ""})
	crashed := dir("crashed", map[string]string{metaFile: "version=1\ncluster.id=c1\nnode.id=1\ndirectory.id=d8\n", "recovery-point-offset-checkpoint": "0\n0\n"})
	ahead := dir("ahead", props("c1", "1", "d3"))
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(ahead, metaFile), later, later); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dirs, verdict, words string }{
		{filepath.Join(root, "none"), fine, "the node makes it"},
		{empty, fine, "the node formats it"},
		{alien, failure, "it has notes.txt"},
		{foreign, failure, "belongs to node 7, and this node is 1"},
		{a + "," + b, failure, "belongs to cluster c2"},
		{a + "," + copied, failure, "one is a copy of the other"},
		{a, fine, "is formatted and was never served"},
		{crashed, warning, "the next start recovers it"},
		{closed, fine, "closed cleanly"},
		{closed, warning, "1 log that no topic owns"},
		{ahead, warning, "ahead of now"},
		{filepath.Join(alien, "notes.txt"), failure, "is a file"},
		{a, warning, "among the temporary files"},
	} {
		expect(t, examine(t, []string{"log.dirs=" + c.dirs}, (*doctor).checkDirectories), c.verdict, c.words)
	}
}

func TestDoctorOnTheKernel(t *testing.T) {
	files := map[string]string{
		"/proc/sys/net/core/somaxconn": "128", "/proc/sys/vm/swappiness": "100", "/proc/sys/net/ipv4/ip_local_port_range": "9000\t60999",
		"/sys/fs/cgroup/memory.max": "67108864",
	}
	found := examine(t, nil, func(d *doctor) {
		d.system = func(path string) (string, bool) { text, ok := files[path]; return text, ok }
		d.checkKernel()
	})
	for _, words := range []string{"somaxconn is 128", "swappiness is 100", "port 9092 of listener PLAINTEXT", "may use 64.0 MiB"} {
		expect(t, found, warning, words)
	}
	expect(t, examine(t, nil, (*doctor).checkKernel), fine, "suit a node")
}

// unset is a clock that nobody has set.
type unset struct{ clock.Real }

func (*unset) Now() time.Time { return time.Unix(60, 0) }

func TestDoctorOnTheClock(t *testing.T) {
	expect(t, examine(t, nil, func(d *doctor) { d.clock = new(unset); d.checkClock() }), failure, "the clock says 1970-01-01T00:01:00Z")
}

func TestDoctorOnFigures(t *testing.T) {
	for text, want := range map[string][2]string{
		"# HELP x\nkafka_server_replicamanager_underreplicatedpartitions 0\nodd line\n":                 {fine, "no trouble"},
		"kafka_server_replicamanager_underreplicatedpartitions 2\n":                                     {failure, "2 partitions have replicas"},
		"kafka_controller_kafkacontroller_offlinepartitionscount 1\n":                                   {failure, "have no leader"},
		"moldau_cleaner_failed{directory=\"/d\",partition=\"0\",topic=\"t\"} 1\n":                       {failure, `topic="t"`},
		"kafka_log_logmanager_logdirectoryoffline{logdirectory=\"/d\"} 1\n":                             {failure, "/d"},
		"process_open_fds 900\nprocess_max_fds 1000\n":                                                  {warning, "900 of at most 1000"},
		"process_open_fds 10\nprocess_max_fds 1000\nkafka_log_logmanager_logdirectoryoffline{d=\"\"} 0": {fine, "no trouble"},
		"moldau_directory_refused_batches_total{directory=\"/data\"} 3\n":                               {warning, "refused 3 batches"},
	} {
		expect(t, examine(t, nil, func(d *doctor) { d.judgeMetrics(text) }), want[0], want[1])
	}
}
