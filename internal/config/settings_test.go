package config

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rewriting reports whether go test runs with -rewrite, which brings generated text up to date.
func rewriting() bool { return flag.Lookup("rewrite").Value.String() == "true" }

const settingsPage = "../../docs/settings.md"

func TestSettingsPageIsCurrent(t *testing.T) {
	want := writeSettings()
	if rewriting() {
		if err := os.MkdirAll(filepath.Dir(settingsPage), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(settingsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(settingsPage)
	if err != nil || string(got) != want {
		t.Errorf("docs/settings.md does not say what the tables say (%v): run go test ./internal/config -rewrite", err)
	}
}

// writeSettings is docs/settings.md.
func writeSettings() string {
	var s strings.Builder
	s.WriteString("# Settings\n\nWritten by `go test ./internal/config -rewrite` from the tables in `internal/config`.\n\n" +
		"Moldau takes the settings of Apache Kafka 4.4 under the same names, from `server.properties` (`moldau start --config`), from the environment\n" +
		"(`KAFKA_LOG_DIRS` for `log.dirs`: `.` becomes `_`, `_` becomes `__`, `-` becomes `___`) and from the command line (`--set key=value`), the last one\n" +
		"winning. A key that nobody knows is an error. \"Changes\" says how a setting of a running node can be changed: by a restart, per broker, or for\n" +
		"the whole cluster too. Settings of topics and groups can be changed at any time. Keys marked † are accepted and checked but have no effect yet;\n" +
		"keys marked ‡ steer parts of Kafka's Java process and are accepted with a notice.\n")
	writeSection(&s, "Moldau's own", "These keys are not Kafka's.", func(_ Scope, d *Def) bool { return d.Own })
	for _, part := range []struct {
		title, about string
		scope        Scope
	}{
		{"Topic", "Set when a topic is created, or with `moldau config`. A topic that does not set a key takes the broker's.", ScopeTopic},
		{"Broker and controller", "", ScopeBroker},
		{"Group", "A group that does not set a key takes the broker's `group.` key.", ScopeGroup},
		{"Client metrics", "Of a subscription to the metrics that clients send (KIP-714).", ScopeClientMetrics},
	} {
		writeSection(&s, part.title, part.about, func(sc Scope, d *Def) bool { return sc == part.scope && !d.Own })
	}
	return s.String()
}

func writeSection(s *strings.Builder, title, about string, in func(Scope, *Def) bool) {
	fmt.Fprintf(s, "\n## %s\n\n", title)
	if about != "" {
		s.WriteString(about + "\n\n")
	}
	s.WriteString("| key | type | default | changes | what it does |\n|---|---|---|---|---|\n")
	for _, sc := range scopes() {
		for i := range Table(sc) {
			if d := &Table(sc)[i]; in(sc, d) && !d.Internal {
				writeRow(s, sc, d)
			}
		}
	}
}

func writeRow(s *strings.Builder, sc Scope, d *Def) {
	mark := map[Support]string{Honoured: "", Planned: " †", JVMOnly: " ‡"}[d.Support]
	value := "`" + d.Default + "`"
	switch {
	case d.Preset == PresetNull:
		value = "none"
	case d.Preset == PresetNone:
		value = "must be set"
	case d.Default == "":
		value = "empty"
	}
	changes := map[Update]string{ReadOnly: "restart", PerBroker: "per broker", ClusterWide: "cluster"}[d.Update]
	if sc != ScopeBroker {
		changes = sc.String()
	}
	doc := d.Doc
	if rule := d.Rule.describe(); rule != "" {
		doc += " " + rule
	}
	fmt.Fprintf(s, "| `%s`%s | %s | %s | %s | %s |\n", d.Name, mark, strings.ToLower(d.Type.String()), value, changes, strings.ReplaceAll(doc, "|", `\|`))
}

// describe is the rule as a sentence, or "" where there is none worth telling.
func (r Rule) describe() string {
	switch r.Kind {
	case RuleRange:
		if r.Max == NoMax {
			return fmt.Sprintf("At least %s.", plain(r.Min))
		}
		return fmt.Sprintf("From %s to %s.", plain(r.Min), plain(r.Max))
	case RuleOneOf, RuleOneOfFold:
		return "One of `" + strings.Join(r.Values, "`, `") + "`."
	case RuleList:
		if len(r.Values) > 0 {
			return "Any of `" + strings.Join(r.Values, "`, `") + "`."
		}
	case RuleNone, RuleNonEmpty, RuleGzipLevel, RuleThrottledReplicas, RuleVoters, RuleServers, RuleOffsetReset:
	}
	return ""
}

// handedOut are broker keys that this package reads itself and hands out worked up (Listeners, LogDirs, ForListener …).
var handedOut = []string{
	"advertised.listeners", "broker.id", "controller.listener.names", "controller.quorum.bootstrap.servers", "controller.quorum.voters",
	"inter.broker.listener.name", "listener.security.protocol.map", "listeners", "log.dir", "log.dirs", "metadata.log.dir", "node.id", "process.roles",
	"security.inter.broker.protocol", "connections.max.reauth.ms", "moldau.insecure.listeners.allow",
}

// topicFields is the field of TopicConfig that each topic key ends up in.
var topicFields = map[string]string{
	"ack.durability": "AckDurability", "cleanup.policy": "Compact", "compression.gzip.level": "GzipLevel", "compression.lz4.level": "Lz4Level",
	"compression.type": "CompressionType", "compression.zstd.level": "ZstdLevel", "delete.retention.ms": "DeleteRetentionMs",
	"errors.deadletterqueue.group.enable": "DeadLetterQueue", "file.delete.delay.ms": "FileDeleteDelayMs", "flush.messages": "FlushMessages", "flush.ms": "FlushMs",
	"follower.replication.throttled.replicas": "FollowerThrottled", "index.interval.bytes": "IndexIntervalBytes", "internal.segment.bytes": "SegmentBytes",
	"leader.replication.throttled.replicas": "LeaderThrottled", "local.retention.bytes": "LocalRetentionBytes", "local.retention.ms": "LocalRetentionMs",
	"max.compaction.lag.ms": "MaxCompactionLagMs", "max.decompressed.message.bytes": "MaxDecompressedMessageBytes", "max.message.bytes": "MaxMessageBytes",
	"message.timestamp.after.max.ms": "TimestampAfterMaxMs", "message.timestamp.before.max.ms": "TimestampBeforeMaxMs", "message.timestamp.type": "TimestampType",
	"min.cleanable.dirty.ratio": "MinCleanableDirtyRatio", "min.compaction.lag.ms": "MinCompactionLagMs", "min.insync.replicas": "MinInsyncReplicas",
	"preallocate": "Preallocate", "remote.copy.lag.bytes": "RemoteCopyLagBytes", "remote.copy.lag.ms": "RemoteCopyLagMs", "remote.log.copy.disable": "RemoteCopyDisable",
	"remote.log.delete.on.disable": "RemoteDeleteOnDisable", "remote.storage.enable": "RemoteStorage", "retention.bytes": "RetentionBytes", "retention.ms": "RetentionMs",
	"segment.bytes": "SegmentBytes", "segment.index.bytes": "SegmentIndexBytes", "segment.jitter.ms": "SegmentJitterMs", "segment.ms": "SegmentMs",
	"unclean.leader.election.enable": "UncleanLeaderElection",
}

// TestSupportIsTrue keeps the tables from promising what no code does, and from denying what some code does: a key
// is honoured when the product's code names it (a topic's: when it reads the field).
func TestSupportIsTrue(t *testing.T) {
	code, users := productCode(t)
	honoured := map[string]bool{}
	for i := range topicTable {
		d := &topicTable[i]
		field, ok := topicFields[d.Name]
		if !ok {
			t.Errorf("topic key %s has no field in TopicConfig", d.Name)
		}
		if regexp.MustCompile(`\.` + field + `\b`).MatchString(users) {
			honoured["topic "+d.Name] = true
			for _, syn := range d.Synonyms {
				honoured["broker "+syn.Name] = true
			}
		}
	}
	for _, sc := range []Scope{ScopeBroker, ScopeGroup, ScopeClientMetrics} {
		for i := range Table(sc) {
			d := &Table(sc)[i]
			if strings.Contains(code, `"`+d.Name+`"`) || sc == ScopeBroker && slices.Contains(handedOut, d.Name) {
				honoured[sc.String()+" "+d.Name] = true
			}
		}
	}
	// Who reads a group's key reads the broker's default and bounds with it.
	for i := range groupTable {
		d := &groupTable[i]
		if !honoured[ScopeGroup.String()+" "+d.Name] {
			continue
		}
		kind, what, _ := strings.Cut(d.Name, ".")
		what = strings.TrimPrefix(what, "num.")
		names := []string{"group." + kind + ".min." + what, "group." + kind + ".max." + what}
		for _, syn := range d.Synonyms {
			names = append(names, syn.Name)
		}
		for _, name := range names {
			honoured[ScopeBroker.String()+" "+name] = true
		}
	}
	for _, sc := range scopes() {
		for i := range Table(sc) {
			d := &Table(sc)[i]
			if d.Support == JVMOnly || (d.Support == Honoured) == honoured[sc.String()+" "+d.Name] {
				continue
			}
			if rewriting() {
				setSupport(t, sc, d.Name, honoured[sc.String()+" "+d.Name])
				continue
			}
			t.Errorf("%s key %s: the table says honoured=%v, the code says %v: run go test ./internal/config -rewrite", sc, d.Name, d.Support == Honoured, honoured[sc.String()+" "+d.Name])
		}
	}
}

// productCode is all Go code of the product outside this package, the apps and the tests; and of it the files that
// use this package.
func productCode(t *testing.T) (all, users string) {
	t.Helper()
	var s, u strings.Builder
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (slices.Contains([]string{".git", "config", "app", "tidy", "test", "testdata", "gen"}, e.Name()) || strings.HasPrefix(e.Name(), "moldautest")):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "zz_generated"):
			return nil
		}
		data, err := os.ReadFile(path)
		s.Write(data)
		if strings.Contains(string(data), `"github.com/moldau/moldau/internal/config"`) {
			u.Write(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.String(), u.String()
}

// setSupport rewrites a row of a table.
func setSupport(t *testing.T, sc Scope, name string, honoured bool) {
	t.Helper()
	path := map[Scope]string{ScopeBroker: "table_broker.go", ScopeTopic: "table_topic.go"}[sc]
	if path == "" {
		path = "table_group.go"
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "\t{Name: \""+name+"\",") {
			continue
		}
		line = strings.Replace(line, ", Support: Planned", "", 1)
		if !honoured {
			at := strings.Index(line, ", Doc: ")
			if own := strings.Index(line, ", Own: true"); own >= 0 {
				at = own
			}
			line = line[:at] + ", Support: Planned" + line[at:]
		}
		lines[i] = line
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestKeysAskedForExist finds getters that the code calls with a key that no table has, before they stop a node.
func TestKeysAskedForExist(t *testing.T) {
	_, users := productCode(t)
	asked := regexp.MustCompile(`\.(?:Get(?:Int|Long|Bool|String|List|Double)|IsSet)\("([a-zA-Z._-]+)"\)`)
	for _, m := range asked.FindAllStringSubmatch(users, -1) {
		_, broker := LookupBroker(m[1])
		_, group := LookupGroup(m[1])
		if !broker && !group {
			t.Errorf("some code asks for the setting %q, which is in neither the broker's nor the group's table", m[1])
		}
	}
}
