package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// swapPart exchanges data directories between the two brokers, in every way they may be left.
func (s *suite) swapPart(ctx context.Context) {
	s.report.check("Kafka's tools read every file of a stopped Moldau, Kafka starts on them and serves the same, and back", s.fromMoldau(ctx))
	s.report.check("Moldau starts on what Kafka left after a clean stop and serves the same, and back", s.fromKafka(ctx, false))
	s.report.check("Moldau starts on what Kafka left after kill -9 and serves the same", s.fromKafka(ctx, true))
	s.report.check("Moldau starts again after kill -9 and serves the same", s.again(ctx))
	s.report.check("Moldau cleans a compacted log, Kafka serves the same newest values and writes on, and back", s.compacted(ctx, moldauName, kafkaName))
	s.report.check("Kafka cleans a compacted log, Moldau serves the same newest values and writes on, and back", s.compacted(ctx, kafkaName, moldauName))
}

// filled is a running broker with data, and what it serves.
// When it will be killed, no records are deleted: Kafka notes the first offset once a minute, and
// a kill may bring such records back.
func (s *suite) filled(ctx context.Context, name, label string, killed bool) (*broker, []string, error) {
	b, err := s.broker(name, label)
	if err != nil {
		return nil, nil, err
	}
	if err := b.start(ctx); err != nil {
		return nil, nil, err
	}
	if err := load(ctx, b.addr, !killed); err != nil {
		b.kill()
		return nil, nil, fmt.Errorf("load %s: %w", name, err)
	}
	served, err := state(ctx, b.addr)
	if err != nil {
		b.kill()
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, served, nil
}

// serves starts the broker, compares what it serves, writes more, and leaves it running.
func (b *broker) serves(ctx context.Context, want []string) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	got, err := state(ctx, b.addr)
	if err != nil {
		return fmt.Errorf("%s does not serve what the other left: %w", b.name, err)
	}
	if err := difference(got, want); err != nil {
		return fmt.Errorf("%s serves something else: %w", b.name, err)
	}
	return nil
}

// more writes on, which shows that producer ids, offsets and epochs went over, and returns what
// is served then.
func (b *broker) more(ctx context.Context) ([]string, error) {
	for topic := range exchangeTopics {
		if err := loadTopic(ctx, b.addr, topic, true); err != nil {
			return nil, fmt.Errorf("%s takes no more records: %w", b.name, err)
		}
	}
	if err := commitGroup(ctx, b.addr, "ex-group-0"); err != nil {
		return nil, fmt.Errorf("%s: the group does not go on: %w", b.name, err)
	}
	return state(ctx, b.addr)
}

// fromMoldau stops Moldau cleanly, has Kafka's tool read its files, Kafka serve them and write
// more, and Moldau serve that.
func (s *suite) fromMoldau(ctx context.Context) error {
	b, served, err := s.filled(ctx, moldauName, "swap-moldau", false)
	if err != nil {
		return err
	}
	if err := b.stop(); err != nil {
		return err
	}
	if err := s.dump(ctx, b.dir); err != nil {
		return err
	}
	return s.thereAndBack(ctx, b.as(kafkaName), b.as(moldauName), served)
}

// fromKafka stops or kills Kafka and has Moldau serve what it left, and Kafka again.
func (s *suite) fromKafka(ctx context.Context, killed bool) error {
	b, served, err := s.filled(ctx, kafkaName, fmt.Sprint("swap-kafka-", s.ports), killed)
	if err != nil {
		return err
	}
	if killed {
		b.kill()
	} else if err := b.stop(); err != nil {
		return err
	}
	return s.thereAndBack(ctx, b.as(moldauName), b.as(kafkaName), served)
}

// thereAndBack has the other program serve the directory and write more, and the first serve that.
func (s *suite) thereAndBack(ctx context.Context, other, first *broker, served []string) error {
	err := other.serves(ctx, served)
	if err == nil {
		served, err = other.more(ctx)
	}
	if err = errors.Join(err, other.stop()); err != nil {
		return err
	}
	if other.name == moldauName {
		if err := s.dump(ctx, other.dir); err != nil {
			return err
		}
	}
	err = first.serves(ctx, served)
	return errors.Join(err, first.stop())
}

// again kills Moldau and starts it again, and has it stop in such order that Kafka serves it.
func (s *suite) again(ctx context.Context) error {
	b, served, err := s.filled(ctx, moldauName, "swap-again", true)
	if err != nil {
		return err
	}
	b.kill()
	if err = b.serves(ctx, served); err == nil {
		served, err = b.more(ctx)
	}
	b.kill()
	if err != nil {
		return err
	}
	err = b.serves(ctx, served)
	if err = errors.Join(err, b.stop()); err != nil {
		return err
	}
	if err := s.dump(ctx, b.dir); err != nil {
		return err
	}
	k := b.as(kafkaName)
	err = k.serves(ctx, served)
	return errors.Join(err, k.stop())
}

// dump has Kafka's DumpLogSegments read every file of a directory that it knows.
func (s *suite) dump(ctx context.Context, dir string) error {
	var tools []tool
	var unknown []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasSuffix(path, ".deleted") {
			return nil // as Kafka calls what it is about to delete
		}
		base := filepath.Base(filepath.Dir(path))
		args := []string{"--files", path}
		switch filepath.Ext(path) {
		case ".log":
			args = append(args, "--deep-iteration")
			switch {
			case base == "__cluster_metadata-0":
				args = append(args, "--cluster-metadata-decoder", "--skip-record-metadata")
			case strings.HasPrefix(base, "__consumer_offsets-"):
				args = append(args, "--offsets-decoder")
			}
		case ".checkpoint":
			if base != "__cluster_metadata-0" {
				return nil
			}
			args = append(args, "--cluster-metadata-decoder")
		case ".index", ".timeindex":
			args = append(args, "--verify-index-only")
		case ".snapshot", ".txnindex":
		default:
			if !slices.Contains(knownFiles, filepath.Base(path)) && filepath.Base(path) != "partition.metadata" {
				unknown = append(unknown, path)
			}
			return nil
		}
		tools = append(tools, tool{class: dumpLog, args: args})
		return nil
	})
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return fmt.Errorf("files that Kafka does not know: %s", unknown)
	}
	if len(tools) < 10 {
		return fmt.Errorf("only %d files to read in %s", len(tools), dir)
	}
	results, err := s.runTools(ctx, tools)
	if err != nil {
		return fmt.Errorf("DumpLogSegments: %w", err)
	}
	for i, r := range results {
		if err := dumped(r); err != nil {
			return fmt.Errorf("DumpLogSegments %s: %w", tools[i].args, err)
		}
	}
	return nil
}

// knownFiles are the files of Kafka's in the log directory that are no segment's.
var knownFiles = []string{"meta.properties", "bootstrap.checkpoint", "cleaner-offset-checkpoint", "log-start-offset-checkpoint",
	"recovery-point-offset-checkpoint", "replication-offset-checkpoint", "leader-epoch-checkpoint", "quorum-state", ".lock",
	".kafka_cleanshutdown"}

// emptiedBatch is what the tool says of a time index whose entry is of a batch that a cleaner emptied, Kafka's as well.
var emptiedBatch = regexp.MustCompile(`Found timestamp mismatch in :\S+\s+Index timestamp: \d+, log timestamp: -1`)

var firstOfSegment = regexp.MustCompile(`Non-consecutive offsets in \S+\s+-1 is followed by \d+`)

// dumped looks for what the tool prints about a file that it cannot make sense of.
func dumped(r printed) error {
	if r.code != 0 {
		return fmt.Errorf("exit %d: %s", r.code, r.text)
	}
	// The tool takes every segment after the first for a hole, whoever wrote it.
	text := emptiedBatch.ReplaceAllString(firstOfSegment.ReplaceAllString(r.text, ""), "")
	for _, bad := range []string{"isvalid: false", "Exception", "ismatch", "Non-consecutive", "Could not", "orrupt"} {
		if i := strings.Index(text, bad); i >= 0 {
			return fmt.Errorf("it prints %q", text[max(0, i-200):min(len(text), i+300)])
		}
	}
	return nil
}
