package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// fromProperties makes a broker's settings of a file's text.
func fromProperties(t *testing.T, text string) (*BrokerConfig, error) {
	t.Helper()
	props, err := ParseProperties([]byte(text))
	if err != nil {
		return nil, err
	}
	values := Values{}
	for _, p := range props {
		values[p.Key] = p.Value
	}
	return NewBroker(values)
}

// mustBroker is fromProperties for text that is right.
func mustBroker(t *testing.T, text string) *BrokerConfig {
	t.Helper()
	b, err := fromProperties(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNode(t *testing.T) {
	datadriven.RunTest(t, "testdata/node.txt", func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		b, err := fromProperties(t, d.Input)
		if err == nil {
			err = b.CheckNode()
		}
		var kafka string
		d.ScanArgs(t, "kafka", &kafka)
		if ok := kafka == "ok"; ok != (err == nil) && !d.HasArg("differs") {
			t.Errorf("%s: Kafka says %s, we say %v", d.Pos, kafka, err)
		}
		if err != nil {
			return err.Error()
		}
		l, err := b.Listeners()
		if err != nil {
			t.Fatal(err)
		}
		return describeListeners(l)
	})
}

func describeListeners(l *NodeListeners) string {
	var s strings.Builder
	for _, part := range []struct {
		name string
		list []Listener
	}{{"broker", l.Broker}, {"controller", l.Controller}, {"advertised", l.Advertised}, {"advertised controller", l.AdvertisedController}} {
		for _, x := range part.list {
			fmt.Fprintf(&s, "%s: %s %s\n", part.name, x, x.SecurityProtocol)
		}
	}
	fmt.Fprintf(&s, "between brokers: %s, controllers: %s\n", l.InterBroker, strings.Join(l.ControllerNames, " "))
	return s.String()
}

func TestParseListeners(t *testing.T) {
	protocols, err := ParseSecurityMap("PLAINTEXT:PLAINTEXT, ssl:SSL,INTERNAL:sasl_ssl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"PLAINTEXT://:9092", "PLAINTEXT://:9092=PLAINTEXT"},
		{"plaintext://host:0, SSL://[::1]:9093", "PLAINTEXT://host:0=PLAINTEXT SSL://[::1]:9093=SSL"},
		{"internal://a-b.c_d:1", "INTERNAL://a-b.c_d:1=SASL_SSL"},
		{"OTHER://:1", "error"},
		{"PLAINTEXT://", "error"},
		{"PLAINTEXT://:65536", "error"},
		{"PLAINTEXT://a b:1", "error"},
		{"PLAINTEXT://[::1:1", "error"},
		{"PLAINTEXT:9092", "error"},
		{"PLAINTEXT://:1,PLAINTEXT://:2", "error"},
	} {
		list, err := ParseListeners(c.text, protocols)
		var parts []string
		for _, l := range list {
			parts = append(parts, l.String()+"="+l.SecurityProtocol.String())
		}
		got := strings.Join(parts, " ")
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%q: got %s (%v), want %s", c.text, got, err, c.want)
		}
	}
	for _, bad := range []string{"A", "A:B", ":SSL", "A:SSL,a:SSL"} {
		if _, err := ParseSecurityMap(bad); err == nil {
			t.Errorf("security map %q passed", bad)
		}
	}
}

func TestLoad(t *testing.T) {
	b, notices, err := Load(Sources{
		File:     []byte("process.roles=broker\nlog.dirs=/a\nnum.io.threads=4\nzookeeper.connect=z:2181\nrsm.config.x=1\n"),
		FileName: "server.properties",
		Environ:  []string{"PATH=/bin", "KAFKA_LOG_DIRS=/b", "KAFKA_NODE_ID=7", "KAFKA_HEAP_OPTS=-Xmx1g", "KAFKA_PORT=tcp://10.0.0.1:9092", "MOLDAU_TAIL_BYTES=2097152", "KAFKA_CFG_NUM_PARTITIONS=9"},
		Set:      []string{"node.id=8", "listeners=PLAINTEXT://:1,SSL://:2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"log.dirs": "/b", "node.id": "8", "moldau.tail.bytes": "2097152", "num.partitions": "9", "process.roles": "broker",
		"listeners": "PLAINTEXT://:1,SSL://:2", "num.io.threads": "4",
	} {
		if got := b.GetString(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if b.Prefixed("rsm.config.")["x"] != "1" {
		t.Error("the setting of a plugin is lost")
	}
	text := strings.Join(notices, "\n")
	for _, part := range []string{"KAFKA_PORT is ignored", "num.io.threads is ignored", "zookeeper.connect is ignored"} {
		if !strings.Contains(text, part) {
			t.Errorf("no notice with %q in:\n%s", part, text)
		}
	}
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	_, _, err := Load(Sources{
		File: []byte("\nlog.dir=/a\nlog.retension.ms=5\nnum.partitions=0\n"), FileName: "server.properties",
		Set: []string{"nonsense", "frobnicate=1"},
	})
	if err == nil {
		t.Fatal("passed")
	}
	for _, part := range []string{
		"server.properties:3: Unknown broker config name: log.retension.ms (did you mean log.retention.ms?)",
		"server.properties:4: Invalid value 0 for configuration num.partitions: Value must be at least 1",
		`--set "nonsense": write it as key=value`,
		"--set frobnicate: Unknown broker config name: frobnicate",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in:\n%v", part, err)
		}
	}
}

func TestEnvironmentKey(t *testing.T) {
	for name, want := range map[string]string{
		"LOG_DIRS": "log.dirs", "A__B": "a_b", "A___B": "a-b", "A____B": "a-.b", "LISTENER_NAME_X_SCRAM___SHA___256_SASL_JAAS_CONFIG": "listener.name.x.scram-sha-256.sasl.jaas.config", "": "", "_": ".",
	} {
		if got := EnvironmentKey(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestClosest(t *testing.T) {
	for name, want := range map[string]string{
		"log.retention.hour": "log.retention.hours", "auto.create.topic.enable": "auto.create.topics.enable", "advertized.listeners": "advertised.listeners",
		"Num.Partitions": "num.partitions", "lgo.dirs": "log.dirs", "xyzzyxyzzyxyzzy": "",
	} {
		got := Closest(ScopeBroker, name)
		if want == "" && len(got) > 0 || want != "" && (len(got) == 0 || got[0] != want) {
			t.Errorf("%q: got %v, want %q first", name, got, want)
		}
	}
	if got := distance("abcd", "acbd"); got != 1 {
		t.Errorf("two letters swapped are %d apart", got)
	}
}
