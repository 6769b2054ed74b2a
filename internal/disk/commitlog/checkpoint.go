package commitlog

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// Kafka's checkpoint files in a data directory.
const (
	recoveryPointFile = "recovery-point-offset-checkpoint"
	logStartFile      = "log-start-offset-checkpoint"
	highWatermarkFile = "replication-offset-checkpoint"
	cleanedFile       = "cleaner-offset-checkpoint"
	cleanMarker       = ".kafka_cleanshutdown"

	maxCheckpointBytes = 256 << 20
)

// checkpointBytes is how much may be committed before a checkpoint: what recovery reads at most, about.
const checkpointBytes = 64 << 20

// checkpointEvery is how often it is looked whether there is something to checkpoint, and maxUnsynced how
// long anything waits for it while the store is busy.
const (
	checkpointEvery = time.Second
	maxUnsynced     = 5 * time.Second
)

func encodeTopicID(id [16]byte) []byte {
	return []byte("version: 0\ntopic_id: " + base64.RawURLEncoding.EncodeToString(id[:]))
}

// parseTopicID reads partition.metadata.
func parseTopicID(b []byte) (id [16]byte, err error) {
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.TrimSpace(key) != "topic_id" {
			continue
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil || len(raw) != len(id) {
			return id, fmt.Errorf("topic id %q is not 22 characters of URL-safe base64", value)
		}
		copy(id[:], raw)
		return id, nil
	}
	return id, errors.New("there is no topic_id line")
}

// offsetLine is one line of an offset checkpoint.
type offsetLine struct {
	logKey
	offset int64
}

func encodeOffsets(lines []offsetLine) []byte {
	b := make([]byte, 0, 16+40*len(lines))
	b = append(b, "0\n"...)
	b = strconv.AppendInt(b, int64(len(lines)), 10)
	b = append(b, '\n')
	for i := range lines {
		b = append(b, lines[i].topic...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(lines[i].partition), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, lines[i].offset, 10)
		b = append(b, '\n')
	}
	return b
}

// parseOffsets reads an offset checkpoint; an empty file has no lines.
func parseOffsets(b []byte) ([]offsetLine, error) {
	rows, err := parseTable(b, 3)
	if err != nil {
		return nil, err
	}
	lines := make([]offsetLine, 0, len(rows))
	for i, f := range rows {
		p, err := strconv.ParseInt(f[1], 10, 32)
		if err != nil || p < 0 {
			return nil, fmt.Errorf("line %d: %q is not a partition", i+3, f[1])
		}
		o, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil || o < 0 {
			return nil, fmt.Errorf("line %d: %q is not an offset", i+3, f[2])
		}
		lines = append(lines, offsetLine{logKey{f[0], int32(p)}, o})
	}
	return lines, nil
}

// parseTable reads the text format of Kafka's checkpoints: a version 0, a count, and that many lines of fields.
func parseTable(b []byte, fields int) ([][]string, error) {
	text := strings.TrimSpace(string(b))
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 2 || strings.TrimSpace(lines[0]) != "0" {
		return nil, fmt.Errorf("version %q is unknown", lines[0])
	}
	n, err := strconv.Atoi(strings.TrimSpace(lines[1]))
	if err != nil || n != len(lines)-2 {
		return nil, fmt.Errorf("it announces %q lines and has %d", lines[1], len(lines)-2)
	}
	rows := make([][]string, n)
	for i, line := range lines[2:] {
		if rows[i] = strings.Fields(line); len(rows[i]) != fields {
			return nil, fmt.Errorf("line %d has %d fields instead of %d", i+3, len(rows[i]), fields)
		}
	}
	return rows, nil
}

func encodeEpochs(list []epochStart) []byte {
	b := append([]byte("0\n"), strconv.Itoa(len(list))...)
	b = append(b, '\n')
	for _, e := range list {
		b = strconv.AppendInt(b, int64(e.epoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.start, 10)
		b = append(b, '\n')
	}
	return b
}

// parseEpochs reads a leader-epoch-checkpoint.
func parseEpochs(b []byte) ([]epochStart, error) {
	rows, err := parseTable(b, 2)
	if err != nil {
		return nil, err
	}
	list := make([]epochStart, 0, len(rows))
	for i, f := range rows {
		e, err1 := strconv.ParseInt(f[0], 10, 32)
		o, err2 := strconv.ParseInt(f[1], 10, 64)
		if err1 != nil || err2 != nil || e < 0 || o < 0 {
			return nil, fmt.Errorf("line %d: %q is not an epoch and an offset", i+3, strings.Join(f, " "))
		}
		if n := len(list); n > 0 && (list[n-1].epoch >= int32(e) || list[n-1].start > o) {
			return nil, fmt.Errorf("line %d: epoch %d at %d does not follow epoch %d at %d", i+3, e, o, list[n-1].epoch, list[n-1].start)
		}
		list = append(list, epochStart{int32(e), o})
	}
	return list, nil
}

// readCheckpoint reads an offset checkpoint of the directory. One that is missing or cannot be read counts as empty: what it says is
// an optimisation or a minimum.
func (s *Store) readCheckpoint(name string) map[logKey]int64 {
	path := filepath.Join(s.dir, name)
	b, err := vfs.ReadFile(s.fs, path, maxCheckpointBytes)
	if err != nil {
		if !errors.Is(err, vfs.ErrNotExist) {
			s.note("%s cannot be read and counts as empty: %v", path, err)
		}
		return nil
	}
	lines, err := parseOffsets(b)
	if err != nil {
		s.note("%s is damaged and counts as empty: %v", path, err)
		return nil
	}
	m := make(map[logKey]int64, len(lines))
	for _, line := range lines {
		m[line.logKey] = line.offset
	}
	return m
}

// note adds a repair to the report.
func (s *Store) note(format string, args ...any) {
	s.reportMu.Lock()
	defer s.reportMu.Unlock()
	s.report.Notes = append(s.report.Notes, fmt.Sprintf(format, args...))
}
