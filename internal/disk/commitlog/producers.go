package commitlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/moldau/moldau/internal/format/record"
)

// producers is the log's view of its idempotent producers.
type producers struct{}

// duplicate names the first copy of a batch.
type duplicate struct {
	found      bool
	base, last int64
}

// check tells whether the batch is a duplicate, or why it must be refused.
func (p *producers) check(record.Batch, Origin) (duplicate, error) { return duplicate{}, nil }

// apply takes note of an appended batch.
func (p *producers) apply(record.Batch) {}

const snapshotVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode appends the content of a producer snapshot file.
func (p *producers) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, snapshotVersion)
	body := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// producerSnapshot is the content of a snapshot file that is still to be written.
type producerSnapshot struct {
	offset int64
	data   []byte
}
