package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// More of Kafka's tools.
const (
	shareCommand    = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
	streamsCommand  = "org.apache.kafka.tools.streams.StreamsGroupCommand"
	electionCommand = "org.apache.kafka.tools.LeaderElectionCommand"
	reassignCommand = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
	featureCommand  = "org.apache.kafka.tools.FeatureCommand"
	quorumCommand   = "org.apache.kafka.tools.MetadataQuorumCommand"
	metricsCommand  = "org.apache.kafka.tools.ClientMetricsCommand"
	shareConsumer   = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"
)

// toolFiles are the files that some tools read, by what is in them.
func (s *suite) toolFiles() (map[string]string, error) {
	texts := map[string]string{
		"move":    `{"version":1,"partitions":[{"topic":"desk","partition":0,"replicas":[1]},{"topic":"desk","partition":1,"replicas":[1]}]}`,
		"nowhere": `{"version":1,"partitions":[{"topic":"desk","partition":0,"replicas":[7]}]}`,
		"absent":  `{"version":1,"partitions":[{"topic":"absent","partition":0,"replicas":[1]}]}`,
		"topics":  `{"version":1,"topics":[{"topic":"desk"}]}`,
		"elect":   `{"partitions":[{"topic":"desk","partition":0},{"topic":"desk","partition":1}]}`,
		"beyond":  `{"partitions":[{"topic":"desk","partition":0,"offset":1000}],"version":1}`,
		"offsets": "desk,0,1\ndesk,1,0\n",
	}
	paths := map[string]string{}
	for name, text := range texts {
		paths[name] = filepath.Join(s.work, name+".json")
		if err := os.WriteFile(paths[name], []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// administration is commands on what is not a group: settings of every kind, leaders, replicas, features, the quorum.
func administration(files map[string]string) []tool {
	config := func(args ...string) tool { return tool{class: configCommand, args: args} }
	list := []tool{{class: topicCommand, args: []string{"--create", "--topic", "desk", "--partitions", "2", "--replication-factor", "1"}},
		{class: producer, args: []string{"--topic", "desk", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"}, input: "a:1\nb:2\nc:3\nd:4\ne:5\nf:6\n"}}
	alter := func(add string, entity ...string) {
		list = append(list, config(append([]string{"--alter", "--add-config", add}, entity...)...), config(append([]string{"--describe"}, entity...)...))
	}
	drop := func(del string, entity ...string) {
		list = append(list, config(append([]string{"--alter", "--delete-config", del}, entity...)...), config(append([]string{"--describe"}, entity...)...))
	}
	alter("log.retention.ms=7200000", "--entity-type", "brokers", "--entity-default")
	drop("log.retention.ms", "--entity-type", "brokers", "--entity-default")
	alter("no.such.key=1", "--entity-type", "brokers", "--entity-default")
	alter("node.id=9", "--entity-type", "brokers", "--entity-name", "1")
	alter("producer_byte_rate=1024,consumer_byte_rate=2048", "--entity-type", "users", "--entity-name", "alice")
	alter("request_percentage=50", "--entity-type", "users", "--entity-default")
	alter("producer_byte_rate=512", "--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-name", "one")
	alter("consumer_byte_rate=256", "--entity-type", "clients", "--entity-name", "one")
	alter("controller_mutation_rate=5", "--entity-type", "clients", "--entity-default")
	alter("connection_creation_rate=10", "--entity-type", "ips", "--entity-name", "127.0.0.9")
	alter("no_such_rate=1", "--entity-type", "users", "--entity-name", "alice")
	drop("producer_byte_rate", "--entity-type", "users", "--entity-name", "alice")
	drop("connection_creation_rate", "--entity-type", "ips", "--entity-name", "127.0.0.9")
	alter("SCRAM-SHA-256=[iterations=8192,password=secret],SCRAM-SHA-512=[password=other]", "--entity-type", "users", "--entity-name", "bob")
	alter("SCRAM-SHA-256=[iterations=10,password=secret]", "--entity-type", "users", "--entity-name", "bob")
	drop("SCRAM-SHA-512", "--entity-type", "users", "--entity-name", "bob")
	drop("SCRAM-SHA-256", "--entity-type", "users", "--entity-name", "absent")
	alter("consumer.session.timeout.ms=50000,share.auto.offset.reset=earliest", "--entity-type", "groups", "--entity-name", "tuned")
	alter("consumer.session.timeout.ms=5", "--entity-type", "groups", "--entity-name", "tuned")
	alter("no.such.key=5", "--entity-type", "groups", "--entity-name", "tuned")
	drop("consumer.session.timeout.ms", "--entity-type", "groups", "--entity-name", "tuned")
	alter("metrics=[org.apache.kafka.consumer.],interval.ms=10000", "--entity-type", "client-metrics", "--entity-name", "some")
	alter("interval.ms=1", "--entity-type", "client-metrics", "--entity-name", "some")
	list = append(list, config("--describe", "--entity-type", "topics"), config("--describe", "--entity-type", "groups"), config("--describe", "--entity-type", "client-metrics"))
	return append(list, placement(files)...)
}

// placement is commands on leaders, replicas, features, the quorum, telemetry and offsets.
func placement(files map[string]string) []tool {
	run := func(class string, args ...string) tool { return tool{class: class, args: args} }
	return []tool{
		run(metricsCommand, "--alter", "--name", "mine", "--metrics", "org.apache.kafka.producer.,org.apache.kafka.consumer.coordinator.rebalance.latency.max", "--interval", "20000",
			"--match", "client_software_name=apache-kafka-java"),
		run(metricsCommand, "--describe", "--name", "mine"),
		run(metricsCommand, "--list"),
		run(metricsCommand, "--delete", "--name", "mine"),
		run(metricsCommand, "--describe", "--name", "mine"),
		run(metricsCommand, "--alter", "--name", "bad", "--interval", "5"),
		run(electionCommand, "--election-type", "preferred", "--topic", "desk", "--partition", "0"),
		run(electionCommand, "--election-type", "unclean", "--topic", "desk", "--partition", "1"),
		run(electionCommand, "--election-type", "preferred", "--path-to-json-file", files["elect"]),
		run(electionCommand, "--election-type", "preferred", "--topic", "absent", "--partition", "0"),
		run(reassignCommand, "--generate", "--topics-to-move-json-file", files["topics"], "--broker-list", "1"),
		run(reassignCommand, "--execute", "--reassignment-json-file", files["move"]),
		run(reassignCommand, "--verify", "--reassignment-json-file", files["move"]),
		run(reassignCommand, "--list"),
		run(reassignCommand, "--cancel", "--reassignment-json-file", files["move"]),
		run(reassignCommand, "--execute", "--reassignment-json-file", files["nowhere"]),
		run(reassignCommand, "--execute", "--reassignment-json-file", files["absent"]),
		{class: featureCommand, args: []string{"describe"}, differs: "moldau knows metadata.version 33 and share.version 2 of Kafka 4.4, and formats with kraft.version 1"},
		run(featureCommand, "upgrade", "--feature", "no.such.version=1"),
		run(featureCommand, "upgrade", "--feature", "group.version=1", "--dry-run"),
		run(featureCommand, "upgrade", "--feature", "group.version=9"),
		run(featureCommand, "downgrade", "--feature", "share.version=0", "--dry-run"),
		run(featureCommand, "upgrade", "--release-version", "4.3", "--dry-run"),
		{class: quorumCommand, args: []string{"describe", "--status"}, differs: "moldau formats with kraft.version 1, so its voters have directory ids"},
		run(deleteRecords, "--offset-json-file", files["beyond"]),
		{class: getOffsets, args: []string{"--topic", "desk", "--time", "-3"}, like: equalShapes}, // which record is the youngest is chance
		run(getOffsets, "--topic", "desk", "--time", "earliest-local"),
		run(getOffsets, "--topic", "desk", "--time", "latest-tiered"),
		run(getOffsets, "--topic", "desk", "--time", "99999999999999"),
		run(getOffsets, "--topic", "absent"),
		run(getOffsets, "--exclude-internal-topics"),
		run(logDirs, "--describe", "--topic-list", "absent"),
		run(logDirs, "--describe", "--broker-list", "7"),
	}
}

// Groups that have members while the second list of tools runs.
const (
	classicGroup = "desk-classic"
	newGroup     = "desk-new"
	queueGroup   = "desk-queue"
)

// withMembers is commands on groups that are in use.
func withMembers() []tool {
	group := func(args ...string) tool { return tool{class: groupCommand, args: args, like: equalLines} }
	share := func(args ...string) tool { return tool{class: shareCommand, args: args, like: equalLines} }
	groups := func(args ...string) tool { return tool{class: groupsCommand, args: args, like: equalLines} }
	shape := func(t tool) tool {
		t.like = equalShapes
		return t
	}
	list := []tool{
		groups("--list"), groups("--list", "--consumer"), groups("--list", "--share"), groups("--list", "--streams"),
		groups("--list", "--group-type", "classic"), groups("--list", "--protocol", "consumer"), groups("--list", "--group-type", "none"),
		group("--list"), group("--list", "--state"), group("--list", "--state", "stable"),
		group("--list", "--type"), group("--list", "--type", "classic"), group("--list", "--type", "consumer", "--state", "stable"), group("--list", "--type", "nonsense"),
		group("--describe", "--all-groups", "--state"),
	}
	for _, g := range []string{classicGroup, newGroup} {
		list = append(list, group("--describe", "--group", g), group("--describe", "--group", g, "--offsets", "--verbose"), group("--describe", "--group", g, "--members"),
			shape(group("--describe", "--group", g, "--members", "--verbose")), group("--describe", "--group", g, "--state"), shape(group("--describe", "--group", g, "--state", "--verbose")),
			group("--delete", "--group", g), group("--delete-offsets", "--group", g, "--topic", "desk"),
			group("--reset-offsets", "--group", g, "--topic", "desk", "--to-earliest", "--execute"))
	}
	return append(list,
		share("--list"), share("--list", "--state"), share("--list", "--state", "stable"), share("--describe", "--group", queueGroup, "--members"),
		shape(share("--describe", "--group", queueGroup, "--members", "--verbose")), share("--describe", "--group", queueGroup, "--state"),
		share("--delete", "--group", queueGroup), share("--describe", "--group", "absent"), share("--describe", "--group", classicGroup),
		share("--reset-offsets", "--group", queueGroup, "--topic", "desk", "--to-earliest", "--execute"),
		tool{class: streamsCommand, args: []string{"--list"}}, tool{class: streamsCommand, args: []string{"--describe", "--group", "absent"}},
		tool{class: streamsCommand, args: []string{"--delete", "--group", "absent"}}, tool{class: streamsCommand, args: []string{"--describe", "--group", classicGroup}})
}

// withoutMembers is commands on groups whose members have left.
func withoutMembers(files map[string]string) []tool {
	group := func(args ...string) tool { return tool{class: groupCommand, args: args, like: equalLines} }
	share := func(args ...string) tool { return tool{class: shareCommand, args: args, like: equalLines} }
	list := []tool{group("--list", "--state", "empty"), group("--describe", "--all-groups", "--members")}
	for _, g := range []string{classicGroup, newGroup} {
		reset := func(args ...string) tool {
			return group(append([]string{"--reset-offsets", "--group", g, "--dry-run"}, args...)...)
		}
		list = append(list, group("--describe", "--group", g),
			reset("--all-topics", "--to-earliest"), reset("--topic", "desk", "--to-latest"), reset("--topic", "desk:0", "--to-current"), reset("--topic", "desk", "--shift-by", "-1"),
			reset("--topic", "desk", "--shift-by", "1000"), reset("--topic", "desk", "--to-offset", "-5"), reset("--topic", "desk", "--by-duration", "PT1H"),
			reset("--topic", "desk", "--to-datetime", "2020-01-01T00:00:00.000"), reset("--from-file", files["offsets"]), reset("--topic", "absent", "--to-earliest"),
			group("--reset-offsets", "--group", g, "--topic", "desk", "--to-offset", "1", "--execute", "--export"), group("--describe", "--group", g, "--offsets"),
			group("--delete-offsets", "--group", g, "--topic", "desk:0"), group("--describe", "--group", g, "--offsets"),
			group("--delete-offsets", "--group", g, "--topic", "absent"), group("--delete", "--group", g), group("--describe", "--group", g, "--state"))
	}
	return append(list,
		share("--list", "--state", "empty"), share("--describe", "--group", queueGroup), share("--describe", "--group", queueGroup, "--offsets"),
		share("--reset-offsets", "--group", queueGroup, "--topic", "desk", "--to-latest", "--dry-run"),
		share("--reset-offsets", "--group", queueGroup, "--topic", "desk", "--to-earliest", "--execute"), share("--describe", "--group", queueGroup, "--offsets", "--verbose"),
		tool{class: shareConsumer, args: []string{"--topic", "desk", "--group", queueGroup, "--max-messages", "6", "--timeout-ms", "20000", "--formatter-property", "print.key=true",
			"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true"}, like: equalLines},
		tool{class: shareConsumer, args: []string{"--topic", "desk", "--group", queueGroup, "--timeout-ms", "1500"}, like: equalLines},
		share("--describe", "--group", queueGroup), share("--delete-offsets", "--group", queueGroup, "--topic", "desk"), share("--describe", "--group", queueGroup),
		share("--delete-offsets", "--group", queueGroup, "--topic", "absent"), share("--delete", "--group", queueGroup), share("--delete", "--group", "absent"), share("--list"))
}

// deskMembers are the two members of a group, and how many partitions they have together.
type deskMembers struct {
	clients  [2]*kgo.Client
	assigned [2]atomic.Int64
}

func (d *deskMembers) close() {
	for _, cl := range d.clients {
		if cl != nil {
			cl.Close()
		}
	}
}

// members has two members join a group of each kind that the broker offers, read the topic and commit, and returns
// what makes them leave.
func (b *broker) members(ctx context.Context) (leave func(), err error) {
	var all []*deskMembers
	leave = func() {
		for _, d := range all {
			d.close()
		}
	}
	without := strings.Split(b.without(ctx), ",")
	kinds := map[string][]kgo.Opt{classicGroup: {kgo.ConsumerGroup(classicGroup), kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(200 * time.Millisecond)}}
	if !slices.Contains(without, "consumer") {
		kinds[newGroup] = []kgo.Opt{kgo.ConsumerGroup(newGroup), kgo.ServerSideBalancer()}
	}
	if !slices.Contains(without, "share") {
		kinds[queueGroup] = []kgo.Opt{kgo.ShareGroup(queueGroup)}
	}
	for group, opts := range kinds {
		d, err := b.join(ctx, group, opts)
		all = append(all, d)
		if err != nil {
			leave()
			return nil, fmt.Errorf("%s: %w", group, err)
		}
	}
	return leave, nil
}

// join starts two members and polls until each has one of the two partitions, or all in a share group, and what they read is committed.
func (b *broker) join(ctx context.Context, group string, opts []kgo.Opt) (*deskMembers, error) {
	d := &deskMembers{}
	for i := range d.clients {
		count := func(sign int64) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
				d.assigned[i].Add(sign * int64(len(ps["desk"])))
			}
		}
		all := append([]kgo.Opt{kgo.SeedBrokers(b.addr), kgo.ClientID("desk"), kgo.ConsumeTopics("desk")}, opts...)
		if group != queueGroup {
			all = append(all, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
				kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)), kgo.OnPartitionsLost(count(-1)))
		}
		var err error
		if d.clients[i], err = kgo.NewClient(all...); err != nil {
			return d, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	read := [2]int{}
	for ctx.Err() == nil {
		for i, cl := range d.clients {
			poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			read[i] += cl.PollFetches(poll).NumRecords()
			cancel()
		}
		if group == queueGroup {
			if ok, err := shared(ctx, d.clients[0]); ok || err != nil {
				return d, err
			}
		} else if d.assigned[0].Load() == 1 && d.assigned[1].Load() == 1 && read[0] > 0 && read[1] > 0 {
			return d, errors.Join(d.clients[0].CommitUncommittedOffsets(ctx), d.clients[1].CommitUncommittedOffsets(ctx))
		}
	}
	return d, fmt.Errorf("the members do not share the partitions: %d and %d, %v records", d.assigned[0].Load(), d.assigned[1].Load(), read)
}

// shared tells whether both members of the share group have an assignment.
func shared(ctx context.Context, cl *kgo.Client) (bool, error) {
	req := kmsg.NewPtrShareGroupDescribeRequest()
	req.GroupIDs = []string{queueGroup}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return false, err
	}
	if len(resp.Groups) != 1 || len(resp.Groups[0].Members) != 2 {
		return false, nil
	}
	for _, m := range resp.Groups[0].Members {
		if len(m.Assignment.TopicPartitions) == 0 {
			return false, nil
		}
	}
	return true, nil
}
