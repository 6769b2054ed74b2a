package partition

import (
	"errors"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/idempotence"
)

// verdictCodes is Kafka's answer to each refusal of an idempotent batch.
var verdictCodes = map[idempotence.Verdict]wire.Code{
	idempotence.OutOfOrderSequence:   wire.OutOfOrderSequenceNumber,
	idempotence.InvalidProducerEpoch: wire.InvalidProducerEpoch,
	idempotence.InvalidTxnState:      wire.InvalidTxnState,
	idempotence.CoordinatorFenced:    wire.TransactionCoordinatorFenced,
}

// Code is Kafka's answer to a failed append to a log, or a failed read.
func Code(err error) wire.Code {
	var corrupt *commitlog.CorruptError
	var producer *commitlog.ProducerError
	var code wire.Code
	switch {
	case err == nil:
		return wire.None
	case errors.As(err, &code):
		return code
	case errors.As(err, &producer):
		return verdictCodes[producer.Verdict]
	case errors.Is(err, commitlog.ErrOffsetOutOfRange):
		return wire.OffsetOutOfRange
	case errors.Is(err, commitlog.ErrBusy):
		return wire.NotLeaderOrFollower // for a moment, while the log changes its directory
	case errors.Is(err, commitlog.ErrClosed):
		return wire.UnknownTopicOrPartition
	case errors.As(err, &corrupt), errors.Is(err, commitlog.ErrStorage), errors.Is(err, commitlog.ErrNoSpace):
		return wire.KafkaStorageError
	default:
		return wire.UnknownServerError
	}
}
