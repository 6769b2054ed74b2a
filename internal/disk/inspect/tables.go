package inspect

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
)

// Sizes of the entries of Kafka's binary tables; internal/disk/commitlog and internal/machine/idempotence draw them.
const (
	indexEntryBytes     = 8
	timeIndexEntryBytes = 12
	txnIndexEntryBytes  = 34
	producerHeaderBytes = 10
	producerEntryBytes  = 46
)

// maxTextBytes bounds a checkpoint; 100,000 partitions take about 5 MB.
const maxTextBytes = 256 << 20

// indexEntry leads from an offset to the batch that holds it or begins before it.
type indexEntry struct{ offset, pos int64 }

func decodeIndexEntry(b []byte, base int64) indexEntry {
	return indexEntry{base + int64(int32(binary.BigEndian.Uint32(b))), int64(int32(binary.BigEndian.Uint32(b[4:])))}
}

func (e indexEntry) fields() Fields { return Fields{{"offset", e.offset}, {"position", e.pos}} }

// timeEntry says that no record up to offset is younger than ts.
type timeEntry struct{ ts, offset int64 }

func decodeTimeEntry(b []byte, base int64) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), base + int64(int32(binary.BigEndian.Uint32(b[8:])))}
}

func (e timeEntry) fields() Fields { return Fields{{"timestamp", e.ts}, {"offset", e.offset}} }

// txnEntry is an aborted transaction.
type txnEntry struct {
	version                           int16
	producer, first, last, lastStable int64
}

func decodeTxnEntry(b []byte) txnEntry {
	be := binary.BigEndian
	return txnEntry{int16(be.Uint16(b)), int64(be.Uint64(b[2:])), int64(be.Uint64(b[10:])), int64(be.Uint64(b[18:])), int64(be.Uint64(b[26:]))}
}

func (e txnEntry) fields() Fields {
	return Fields{{"version", e.version}, {"producerId", e.producer}, {"firstOffset", e.first}, {"lastOffset", e.last}, {"lastStableOffset", e.lastStable}}
}

// producerFields are one producer of a snapshot.
func producerFields(b []byte) Fields {
	be := binary.BigEndian
	return Fields{
		{"producerId", int64(be.Uint64(b))}, {"producerEpoch", int16(be.Uint16(b[8:]))}, {"lastSequence", int32(be.Uint32(b[10:]))},
		{"lastOffset", int64(be.Uint64(b[14:]))}, {"offsetDelta", int32(be.Uint32(b[22:]))}, {"timestamp", int64(be.Uint64(b[26:]))},
		{"coordinatorEpoch", int32(be.Uint32(b[34:]))}, {"currentTxnFirstOffset", int64(be.Uint64(b[38:]))},
	}
}

// eachEntry calls f for each entry of a table behind its header; what is left at the end is less than an entry.
func eachEntry(r *reader, header, size int, f func(pos int64, b []byte) error) (left int, err error) {
	r.pos = int64(header)
	for ; r.pos < r.size; r.pos += int64(size) {
		b, err := r.bytes(r.pos, size)
		if err != nil {
			return 0, err
		}
		if len(b) < size {
			return len(b), nil
		}
		if err := f(r.pos, b); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// errStop ends an iteration early.
var errStop = errors.New("enough")

// checkProducers reads head and CRC of a producer snapshot; the error says what is wrong with it.
func checkProducers(r *reader) error {
	head, err := r.bytes(0, producerHeaderBytes)
	if err != nil {
		return err
	}
	if len(head) < producerHeaderBytes {
		return fmt.Errorf("it has %d bytes, its head alone needs %d", len(head), producerHeaderBytes)
	}
	version, stored, count := int16(binary.BigEndian.Uint16(head)), binary.BigEndian.Uint32(head[2:]), int64(int32(binary.BigEndian.Uint32(head[6:])))
	if version != 1 {
		return fmt.Errorf("its version is %d, and only 1 is known", version)
	}
	if want := producerHeaderBytes + count*producerEntryBytes; count < 0 || want != r.size {
		return fmt.Errorf("it announces %d producers, which take %d bytes, and has %d", count, want, r.size)
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	for pos := int64(6); pos < r.size; {
		b, err := r.bytes(pos, windowBytes/2)
		if err != nil || len(b) == 0 {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		_, _ = sum.Write(b) // a checksum cannot fail
		pos += int64(len(b))
	}
	if sum.Sum32() != stored {
		return fmt.Errorf("its CRC-32C is %08x, its bytes give %08x", stored, sum.Sum32())
	}
	return nil
}

// line is one line of a text file, in fields.
type line struct {
	number int
	fields Fields
}

// parseText reads one of Kafka's small text files.
func parseText(fsys vfs.FS, path string, kind fileKind) ([]line, error) {
	text, err := vfs.ReadFile(fsys, path, maxTextBytes)
	if err != nil {
		return nil, err
	}
	switch kind {
	case epochFile:
		return parseTable(string(text), "epoch", "startOffset")
	case offsetsFile:
		return parseTable(string(text), "topic", "partition", "offset")
	case jsonFile:
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			return nil, fmt.Errorf("it is no JSON: %w", err)
		}
		return []line{{1, Fields{{"json", json.RawMessage(text)}}}}, nil
	case topicIDFile:
		return parseTopicID(string(text))
	default:
		return parseProperties(text)
	}
}

// parseTable reads a checkpoint: a version 0, a number of lines, and these.
func parseTable(text string, names ...string) ([]line, error) {
	if text == "" {
		return nil, nil // Kafka makes the file before it has something to say
	}
	rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(rows) < 2 {
		return nil, fmt.Errorf("it has %d lines; the first two are the version and a count", len(rows))
	}
	if strings.TrimSpace(rows[0]) != "0" {
		return nil, fmt.Errorf("line 1: its version is %q, and only 0 is known", rows[0])
	}
	if n, err := strconv.Atoi(strings.TrimSpace(rows[1])); err != nil || n != len(rows)-2 {
		return nil, fmt.Errorf("line 2: it announces %q lines and has %d", rows[1], len(rows)-2)
	}
	var out []line
	for i, row := range rows[2:] {
		words := strings.Fields(row)
		if len(words) != len(names) {
			return out, fmt.Errorf("line %d: %q has %d fields instead of %d", i+3, row, len(words), len(names))
		}
		var f Fields
		for k, name := range names {
			if name == "topic" {
				f = append(f, Field{name, words[k]})
				continue
			}
			n, err := strconv.ParseInt(words[k], 10, 64)
			if err != nil || n < 0 {
				return out, fmt.Errorf("line %d: the %s %q is not a number from 0 on", i+3, name, words[k])
			}
			f = append(f, Field{name, n})
		}
		out = append(out, line{i + 3, f})
	}
	return out, nil
}

// parseTopicID reads partition.metadata.
func parseTopicID(text string) ([]line, error) {
	var f Fields
	for row := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(row), ":")
		if !ok {
			return nil, fmt.Errorf("%q is no line of the form key: value", strings.TrimSpace(row))
		}
		f = append(f, Field{key, strings.TrimSpace(value)})
	}
	for _, field := range f {
		if field.Name == "topic_id" {
			id, err := base64.RawURLEncoding.DecodeString(field.Value.(string))
			if err != nil || len(id) != len(wire.UUID{}) {
				return nil, fmt.Errorf("the topic id %q is not 22 characters of URL-safe base64", field.Value)
			}
			return []line{{1, f}}, nil
		}
	}
	return nil, errors.New("it names no topic_id")
}

// parseProperties reads meta.properties.
func parseProperties(text []byte) ([]line, error) {
	rows, err := config.ParseProperties(text)
	if err != nil {
		return nil, err
	}
	var f Fields
	has := map[string]bool{}
	for _, row := range rows {
		has[row.Key] = true
		f = append(f, Field{row.Key, row.Value})
	}
	if !has["version"] || !has["cluster.id"] && !has["broker.id"] {
		return nil, errors.New("it names no version, or no cluster.id")
	}
	return []line{{1, f}}, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func uuid(id [16]byte) string { return wire.UUID(id).String() }
