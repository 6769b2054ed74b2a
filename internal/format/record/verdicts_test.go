package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/compress"
)

// topicConfig is the twin of config in Verdicts.java.
func topicConfig(name string) Limits {
	l := Limits{Now: goldenTime + 500, BeforeMax: math.MaxInt64, AfterMax: 3_600_000, MaxBatchBytes: 1 << 20}
	switch name {
	case "compact":
		l.Compacted = true
	case "appendtime":
		l.TimestampType = LogAppendTime
	case "gzip":
		l.Target = Target{Fixed: true, Codec: compress.Gzip, Level: compress.DefaultLevel}
	case "uncompressed":
		l.Target = Target{Fixed: true}
	case "window":
		l.BeforeMax, l.AfterMax = 1000, 1000
	case "small":
		l.MaxBatchBytes = 150
	}
	return l
}

// stricter are the refusals of batches that Kafka takes, as Validate documents them.
var stricter = []string{
	"exactly one record batch", "deltas must count up", "transactional record batch has no producer id", "invalid epoch", "delete horizon",
	"timestamp type",
}

func TestKafkaJudgesTheSame(t *testing.T) {
	text, err := os.ReadFile("testdata/verdicts.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		f := strings.Split(line, " ")
		config := f[3]
		b, err := hex.DecodeString(f[4])
		if err != nil {
			t.Fatal(err)
		}
		codec := compress.None
		if len(b) >= HeaderSize {
			codec = Batch(b).Codec()
		}
		l := topicConfig(config)
		info, err := Validate(b, &l)
		var out Batch
		if err == nil {
			out, err = Prepare(nil, &info, &l)
		}
		if problem := compareVerdict(f, codec, &info, out, err); problem != "" {
			t.Errorf("line %d, %s: %s", i+1, config, problem)
		}
	}
}

func isStricter(msg string, codec compress.Codec) bool {
	if codec != compress.None && (strings.Contains(msg, "do not fill") || strings.Contains(msg, "claims a size")) {
		return true
	}
	for _, s := range stricter {
		if strings.Contains(msg, s) {
			return true
		}
	}
	return false
}

func compareVerdict(f []string, codec compress.Codec, info *Info, out Batch, err error) string {
	verdict, detail, stored := f[0], f[1], f[2]
	if err != nil {
		var e *Error
		switch {
		case !errors.As(err, &e):
			return "untyped error " + err.Error()
		case (verdict == "NONE" || verdict == e.Kind.String()) && isStricter(e.Msg, codec):
			return ""
		case verdict == "UNKNOWN_SERVER_ERROR":
			// Kafka stumbles; any refusal is better.
			return ""
		}
		if e.Kind.String() != verdict || fmt.Sprint(len(e.Records)) != detail {
			return fmt.Sprintf("Kafka says %s with %s records, we %s with %d: %s", verdict, detail, e.Kind, len(e.Records), e.Msg)
		}
		return ""
	}
	if verdict != "NONE" {
		return fmt.Sprintf("Kafka says %s, we take it", verdict)
	}
	if fmt.Sprint(info.MaxTimestamp) != detail {
		return fmt.Sprintf("Kafka's max timestamp is %s, ours %d", detail, info.MaxTimestamp)
	}
	kafkas, _ := hex.DecodeString(stored)
	out.SetLeaderEpoch(5)
	if out.Codec() != info.Batch.Codec() {
		// Repacked: the bytes depend on the coder, and Kafka's builder takes another base timestamp.
		theirs, err1 := readEntries(kafkas)
		ours, err2 := readEntries(out)
		if err1 != nil || err2 != nil || fmt.Sprint(theirs) != fmt.Sprint(ours) {
			return fmt.Sprintf("repacked batches differ: %v %v\n%v\n%v", err1, err2, theirs, ours)
		}
		return ""
	}
	if !bytes.Equal(out, kafkas) {
		return fmt.Sprintf("Kafka stores\n%s, we\n%x", stored, []byte(out))
	}
	return ""
}
