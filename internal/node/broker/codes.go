package broker

import (
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/node/partition"
)

// refusalCodes is Kafka's answer to each kind of bad batch.
var refusalCodes = map[record.Kind]wire.Code{
	record.Corrupt:                wire.CorruptMessage,
	record.InvalidRecord:          wire.InvalidRecord,
	record.TooLarge:               wire.MessageTooLarge,
	record.InvalidTimestamp:       wire.InvalidTimestamp,
	record.UnsupportedCompression: wire.UnsupportedCompressionType,
	record.OldFormat:              wire.UnsupportedForMessageFormat,
}

// appendCode is Kafka's answer to a failed append or read, and the words that go with it.
func appendCode(err error) (wire.Code, string) {
	code := partition.Code(err)
	if code == wire.UnknownTopicOrPartition {
		return code, ""
	}
	return code, err.Error()
}
