package config

import (
	"strings"
	"testing"
)

// print is an answer as kafka-configs.sh prints it.
func (e Entry) print() string {
	names := map[Source]string{
		SourceDynamicTopic: "DYNAMIC_TOPIC_CONFIG", SourceDynamicBroker: "DYNAMIC_BROKER_CONFIG", SourceDynamicDefaultBroker: "DYNAMIC_DEFAULT_BROKER_CONFIG",
		SourceStaticBroker: "STATIC_BROKER_CONFIG", SourceDefault: "DEFAULT_CONFIG", SourceDynamicGroup: "DYNAMIC_GROUP_CONFIG",
	}
	value := func(v string, null bool) string {
		if null {
			return "null"
		}
		return v
	}
	var synonyms []string
	for _, l := range e.Synonyms {
		synonyms = append(synonyms, names[l.Source]+":"+l.Name+"="+value(l.Value, l.Null))
	}
	sensitive := "false"
	if e.Sensitive {
		sensitive = "true"
	}
	return e.Name + "=" + value(e.Value, e.Null) + " sensitive=" + sensitive + " synonyms={" + strings.Join(synonyms, ", ") + "}"
}

func TestDescribe(t *testing.T) {
	b := mustBroker(t, `
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:29893
listeners=PLAINTEXT://localhost:29892,CONTROLLER://localhost:29893
controller.listener.names=CONTROLLER
log.dirs=/data
log.retention.hours=5
log.roll.ms=1000000
offsets.topic.replication.factor=1
ssl.key.password=secret
log.cleanup.policy=delete, compact
auto.create.topics.enable=FALSE
share.coordinator.state.topic.replication.factor=1
listener.name.plaintext.max.connections=55
`)
	b, err := b.WithDynamic(Values{"log.retention.ms": "7000", "min.insync.replicas": "2"}, Values{"log.segment.bytes": "3000000", "log.roll.ms": "2000000"})
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]map[string]Entry{}
	for scope, list := range map[string][]Entry{
		"topic":   DescribeTopic(b, Values{"retention.ms": "100", "segment.bytes": "2000000"}, nil),
		"group":   DescribeGroup(b, Values{"consumer.session.timeout.ms": "50000"}, nil),
		"broker":  DescribeBroker(b, nil),
		"cluster": DescribeCluster(b, nil),
	} {
		answers[scope] = map[string]Entry{}
		for _, e := range list {
			answers[scope][e.Name] = e
		}
	}
	count := map[string]int{}
	for _, f := range rows(t, "testdata/kafka-4.3.1-describe.txt") {
		name, _, _ := strings.Cut(f[1], "=")
		e, ok := answers[f[0]][name]
		count[f[0]]++
		if !ok {
			t.Errorf("no answer on %s key %s", f[0], name)
		} else if got := e.print(); got != f[1] {
			t.Errorf("%s:\n got %s\nwant %s", f[0], got, f[1])
		}
	}
	if count["topic"] < 30 || count["broker"] < 300 || count["cluster"] != 2 || count["group"] < 10 {
		t.Errorf("too little was compared: %v", count)
	}
}

func TestDescribeSaysWhatCanChange(t *testing.T) {
	b := mustBroker(t, "ssl.key.password=x\nlistener.name.a.max.connections=5\n")
	want := map[string]bool{"num.partitions": true, "num.io.threads": false, "ssl.key.password": false, "listener.name.a.max.connections": false}
	got := DescribeBroker(b, []string{"num.partitions", "num.io.threads", "ssl.key.password", "listener.name.a.max.connections", "nope"})
	if len(got) != len(want) {
		t.Fatalf("%d answers, want %d", len(got), len(want))
	}
	for _, e := range got {
		if e.ReadOnly != want[e.Name] {
			t.Errorf("%s: read-only is %v", e.Name, e.ReadOnly)
		}
		if strings.Contains(e.print(), "=x") {
			t.Errorf("a password shows: %s", e.print())
		}
	}
	if named := DescribeTopic(b, nil, []string{"retention.ms"}); len(named) != 1 || named[0].Type != TypeLong || named[0].ReadOnly || named[0].Source != SourceDefault {
		t.Errorf("got %+v", named)
	}
}
