package broker

import (
	"errors"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/idempotence"
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

// appendCode is Kafka's answer to a failed append or read.
func appendCode(err error) (wire.Code, string) {
	var corrupt *commitlog.CorruptError
	switch {
	case errors.Is(err, idempotence.ErrOutOfOrderSequence):
		return wire.OutOfOrderSequenceNumber, err.Error()
	case errors.Is(err, idempotence.ErrInvalidProducerEpoch):
		return wire.InvalidProducerEpoch, err.Error()
	case errors.Is(err, idempotence.ErrUnknownProducerID):
		return wire.UnknownProducerID, err.Error()
	case errors.Is(err, idempotence.ErrInvalidTxnState):
		return wire.InvalidTxnState, err.Error()
	case errors.Is(err, commitlog.ErrClosed):
		return wire.UnknownTopicOrPartition, ""
	case errors.As(err, &corrupt), errors.Is(err, commitlog.ErrStorage), errors.Is(err, vfs.ErrNoSpace):
		return wire.KafkaStorageError, err.Error()
	default:
		return wire.UnknownServerError, err.Error()
	}
}
