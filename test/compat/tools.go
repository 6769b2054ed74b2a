package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// toolsLimit bounds one run of a list of tools.
const toolsLimit = 4 * time.Minute

// tool is one command line: a class of Kafka's with its arguments, and what it reads.
type tool struct {
	class string
	args  []string
	input string
	like  likeness
	// differs says why the outputs are not the same on purpose; they are not compared then.
	differs string
}

// likeness is how alike the two outputs must be.
type likeness int

const (
	equalText   likeness = iota
	equalLines           // in any order
	equalShapes          // in any order, and with other numbers: how often a group has changed depends on how quickly its members came
	coverLines           // Moldau may print more lines than Kafka: it has settings of its own and of a later version
)

// name is how the check is called.
func (t tool) name() string {
	short := t.class[strings.LastIndexByte(t.class, '.')+1:]
	return strings.TrimSpace(short + " " + strings.Join(t.args, " "))
}

// printed is what a tool printed and its exit code.
type printed struct {
	text string
	code int
}

// runTools runs the tools one after another in one virtual machine.
func (s *suite) runTools(ctx context.Context, tools []tool) ([]printed, error) {
	ctx, cancel := context.WithTimeout(ctx, toolsLimit)
	defer cancel()
	var in bytes.Buffer
	for _, t := range tools {
		in.WriteString(t.class + "\t" + strings.Join(t.args, "\t"))
		if t.input != "" {
			in.WriteString("\t\t" + strings.ReplaceAll(t.input, "\n", `\n`))
		}
		in.WriteByte('\n')
	}
	cmd := s.java(ctx, "Tools")
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = &in, &errs
	out, err := cmd.Output()
	var results []printed
	var text strings.Builder
	for line := range strings.Lines(string(out)) {
		if code, ok := strings.CutPrefix(strings.TrimSpace(line), "=== "); ok {
			n, _ := strconv.Atoi(code)
			results = append(results, printed{text.String(), n})
			text.Reset()
			continue
		}
		text.WriteString(line)
	}
	if err == nil && len(results) != len(tools) {
		err = fmt.Errorf("%d of %d tools ended", len(results), len(tools))
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, errs.String())
	}
	return results, err
}

const (
	topicCommand   = "org.apache.kafka.tools.TopicCommand"
	configCommand  = "kafka.admin.ConfigCommand"
	groupCommand   = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	producer       = "org.apache.kafka.tools.ConsoleProducer"
	consumer       = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	getOffsets     = "org.apache.kafka.tools.GetOffsetShell"
	deleteRecords  = "org.apache.kafka.tools.DeleteRecordsCommand"
	logDirs        = "org.apache.kafka.tools.LogDirsCommand"
	groupsCommand  = "org.apache.kafka.tools.GroupsCommand"
	dumpLog        = "org.apache.kafka.tools.DumpLogSegments"
	clusterTool    = "org.apache.kafka.tools.ClusterTool"
	recordsDeleted = `{"partitions":[{"topic":"shop","partition":0,"offset":1}],"version":1}`
)

// sideBySide are the commands of an ordinary day and the errors of a bad one.
func sideBySide(file string) []tool {
	group := func(args ...string) tool { return tool{class: groupCommand, args: args} }
	topic := func(args ...string) tool { return tool{class: topicCommand, args: args} }
	config := func(args ...string) tool { return tool{class: configCommand, args: args} }
	like := func(l likeness, t tool) tool {
		t.like = l
		return t
	}
	return []tool{
		topic("--create", "--topic", "shop", "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=3600000"),
		topic("--create", "--topic", "shop"),
		topic("--create", "--topic", "shop", "--if-not-exists"),
		topic("--create", "--topic", "three", "--replication-factor", "3"),
		topic("--create", "--topic", "bad/name"),
		topic("--create", "--topic", "bad-config", "--config", "no.such.key=1"),
		topic("--create", "--topic", "bad-value", "--config", "retention.ms=soon"),
		topic("--list"),
		topic("--describe", "--topic", "shop"),
		topic("--describe", "--topic", "absent"),
		topic("--alter", "--topic", "shop", "--partitions", "4"),
		topic("--alter", "--topic", "shop", "--partitions", "2"),
		config("--alter", "--entity-type", "topics", "--entity-name", "shop", "--add-config", "cleanup.policy=[compact,delete],segment.bytes=2000000"),
		config("--alter", "--entity-type", "topics", "--entity-name", "shop", "--delete-config", "segment.bytes"),
		config("--alter", "--entity-type", "topics", "--entity-name", "shop", "--add-config", "retention.ms=-7"),
		config("--alter", "--entity-type", "topics", "--entity-name", "absent", "--add-config", "retention.ms=1"),
		config("--describe", "--entity-type", "topics", "--entity-name", "shop"),
		like(coverLines, config("--describe", "--entity-type", "topics", "--entity-name", "shop", "--all")),
		config("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "log.cleaner.threads=2"),
		config("--describe", "--entity-type", "brokers", "--entity-name", "1"),
		{class: producer, args: []string{"--topic", "shop", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"}, input: "a:1\nb:2\nc:3\nd:4\ne:5\na:6\n"},
		{class: producer, args: []string{"--topic", "shop", "--compression-codec", "zstd", "--command-property", "acks=1", "--reader-property", "parse.key=true",
			"--reader-property", "key.separator=:", "--reader-property", "parse.headers=true"}, input: "h:v\ta:7\n"},
		{class: consumer, args: []string{"--topic", "shop", "--partition", "0", "--offset", "earliest", "--timeout-ms", "1500", "--formatter-property", "print.key=true",
			"--formatter-property", "print.offset=true", "--formatter-property", "print.headers=true"}},
		{class: consumer, args: []string{"--topic", "shop", "--from-beginning", "--group", "readers", "--max-messages", "6", "--formatter-property", "print.partition=true"}},
		{class: consumer, args: []string{"--topic", "absent", "--timeout-ms", "1000"}},
		like(equalLines, group("--list")),
		group("--describe", "--group", "readers"),
		group("--describe", "--group", "readers", "--state"),
		group("--describe", "--group", "absent"),
		group("--reset-offsets", "--group", "readers", "--topic", "shop", "--to-earliest", "--dry-run"),
		group("--reset-offsets", "--group", "readers", "--topic", "shop", "--to-offset", "1", "--execute"),
		group("--describe", "--group", "readers", "--offsets"),
		group("--delete-offsets", "--group", "readers", "--topic", "shop"),
		{class: groupsCommand, args: []string{"--list"}, like: equalLines},
		{class: getOffsets, args: []string{"--topic", "shop"}},
		{class: getOffsets, args: []string{"--topic", "shop", "--time", "-2"}},
		{class: getOffsets, args: []string{"--topic-partitions", "shop:1-3", "--time", "latest"}},
		{class: deleteRecords, args: []string{"--offset-json-file", file}},
		{class: getOffsets, args: []string{"--topic", "shop", "--time", "earliest"}},
		{class: logDirs, args: []string{"--describe", "--topic-list", "shop"}},
		{class: clusterTool, args: []string{"cluster-id"}},
		group("--delete", "--group", "readers"),
		group("--delete", "--group", "absent"),
		topic("--delete", "--topic", "shop"),
		topic("--delete", "--topic", "absent"),
	}
}

// normal takes out of a text what must differ between two brokers.
var normal = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`TopicId: \S+`), "TopicId: ID"},
	{regexp.MustCompile(`localhost:\d+|/127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`\(\S*log4j\S*\)|\[[^\]]*\] (ERROR|WARN|INFO) .*`), ""},
	{regexp.MustCompile(`(?m)^\s+at .*$|^\[\d{4}-.*$`), ""},
	{regexp.MustCompile(`console-consumer-\d+`), "console-consumer-N"},
	{regexp.MustCompile(`"logDir":"[^"]*"`), `"logDir":"DIR"`},
	{regexp.MustCompile(`Cluster ID: \S+`), "Cluster ID: ID"},
	{regexp.MustCompile(`ClusterId: +\S+`), "ClusterId: ID"},
	{regexp.MustCompile(`"directoryId": ?"[^"]*"`), `"directoryId": "ID"`},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\b[A-Za-z0-9_-]{22}\b`), "ID"},
	{regexp.MustCompile(`(HighWatermark|LeaderEpoch|MaxFollowerLagTimeMs): +-?\d+`), "$1: N"},
	{regexp.MustCompile(`-{3,}`), "---"},
	{regexp.MustCompile(`"log_dirs":\["[^"]*"\]`), `"log_dirs":["DIR"]`},
	{regexp.MustCompile(`Epoch: \d+`), "Epoch: N"},
	// What the client was about to do when its patience ended is chance.
	{regexp.MustCompile(`(Call\(callName=\w+\(api=METADATA\).* timed out at |Timed out waiting for a node assignment\. Call: \w+\(api=METADATA\)).*`), "timed out"},
	{regexp.MustCompile(`(?m)[ \t]+$`), ""},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`\n\s*\n+`), "\n"},
}

func normalise(text string) string {
	for _, n := range normal {
		text = n.re.ReplaceAllString(text, n.with)
	}
	return strings.TrimSpace(text)
}

// toolsPart runs the same commands on both brokers and compares what they print.
func (s *suite) toolsPart(ctx context.Context) error {
	file := filepath.Join(s.work, "delete.json")
	if err := os.WriteFile(file, []byte(recordsDeleted), 0o644); err != nil {
		return err
	}
	files, err := s.toolFiles()
	if err != nil {
		return err
	}
	tools := slices.Concat(sideBySide(file), administration(files))
	live, after := withMembers(), withoutMembers(files)
	names := []string{moldauName, kafkaName}
	var results [2][]printed
	var errs [2]error
	var wg sync.WaitGroup
	for i, name := range names {
		b, err := s.broker(name, "tools-"+name)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if errs[i] = b.start(ctx); errs[i] != nil {
				return
			}
			defer b.stop()
			results[i], errs[i] = s.toolsOn(ctx, b, tools, live, after)
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for i, t := range slices.Concat(tools, live, after) {
		name := strings.ReplaceAll(t.name(), s.work, "")
		if seen[name]++; seen[name] > 1 {
			name += fmt.Sprintf(" (%d)", seen[name])
		}
		var got [2]printed
		for k := range got {
			if i >= len(results[k]) {
				s.report.check(name, fmt.Errorf("not run on %s: %v", names[k], errs[k]))
				break
			}
			got[k] = results[k][i]
		}
		if len(results[0]) > i && len(results[1]) > i {
			if got[0].unsupported() && !got[1].unsupported() {
				s.report.note(name, result{"skip", "moldau does not offer it yet"})
				continue
			}
			if t.differs != "" {
				s.report.note(name, result{"skip", t.differs})
				continue
			}
			s.report.check(name, samePrinted(t.like, got[0], got[1]))
		}
	}
	return nil
}

// toolsOn runs the tools on one broker: the first list as it comes, the second while groups have members, and the third when
// these have left.
func (s *suite) toolsOn(ctx context.Context, b *broker, tools, live, after []tool) ([]printed, error) {
	at := func(tools []tool) []tool {
		out := slices.Clone(tools)
		for k := range out {
			where := []string{"--bootstrap-server", b.addr}
			if t := out[k]; t.class == featureCommand || t.class == quorumCommand {
				out[k].args = append(where, t.args...) // before their own commands
			} else {
				out[k].args = append(slices.Clone(t.args), where...)
			}
		}
		return out
	}
	got, err := s.runTools(ctx, at(tools))
	if err != nil {
		return got, err
	}
	leave, err := b.members(ctx)
	if err != nil {
		return got, fmt.Errorf("members: %w", err)
	}
	more, err := s.runTools(ctx, at(live))
	leave()
	if got = append(got, more...); err != nil {
		return got, err
	}
	more, err = s.runTools(ctx, at(after))
	return append(got, more...), err
}

// unsupported tells that the broker does not know the API.
func (p printed) unsupported() bool { return strings.Contains(p.text, "UnsupportedVersionException") }

var number = regexp.MustCompile(`\d+`)

func samePrinted(like likeness, moldau, kafka printed) error {
	m, k := strings.Split(normalise(moldau.text), "\n"), strings.Split(normalise(kafka.text), "\n")
	if like == equalShapes {
		for _, lines := range [][]string{m, k} {
			for i := range lines {
				lines[i] = number.ReplaceAllString(lines[i], "N")
			}
		}
	}
	if like != equalText {
		slices.Sort(m)
		slices.Sort(k)
	}
	if like == coverLines {
		m = slices.DeleteFunc(m, func(line string) bool { return !slices.Contains(k, line) })
	}
	if err := difference(m, k); err != nil || moldau.code != kafka.code {
		return fmt.Errorf("exit %d, where Kafka has %d; %v", moldau.code, kafka.code, err)
	}
	return nil
}
