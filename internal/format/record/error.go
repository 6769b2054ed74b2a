package record

import "fmt"

// Kind tells which Kafka error code an Error stands for.
type Kind int8

// The kinds, with the error codes that the broker answers.
const (
	// Corrupt is CORRUPT_MESSAGE (2).
	Corrupt Kind = iota + 1
	// InvalidRecord is INVALID_RECORD (87).
	InvalidRecord
	// TooLarge is MESSAGE_TOO_LARGE (10).
	TooLarge
	// InvalidTimestamp is INVALID_TIMESTAMP (32).
	InvalidTimestamp
	// UnsupportedCompression is UNSUPPORTED_COMPRESSION_TYPE (76).
	UnsupportedCompression
	// OldFormat is UNSUPPORTED_FOR_MESSAGE_FORMAT (43): the bytes are a message set of format 0 or 1.
	OldFormat
)

var kindNames = [...]string{
	Corrupt: "CORRUPT_MESSAGE", InvalidRecord: "INVALID_RECORD", TooLarge: "MESSAGE_TOO_LARGE",
	InvalidTimestamp: "INVALID_TIMESTAMP", UnsupportedCompression: "UNSUPPORTED_COMPRESSION_TYPE",
	OldFormat: "UNSUPPORTED_FOR_MESSAGE_FORMAT",
}

// String is the name of the Kafka error.
func (k Kind) String() string {
	if k < Corrupt || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", int8(k))
	}
	return kindNames[k]
}

// BadRecord names one record of a refused batch, as record_errors of a Produce answer does (KIP-467).
type BadRecord struct {
	// Index is the record's place in the batch, from 0.
	Index int32
	Msg   string
}

// Error is why a batch is refused.
type Error struct {
	Kind    Kind
	Msg     string
	Records []BadRecord
	// Early tells that the request is wrong, whatever the topic and its log are like.
	Early bool
}

// Error is the message for people.
func (e *Error) Error() string { return e.Msg }

// early is errorf of what makes the request wrong.
func early(k Kind, format string, args ...any) *Error {
	e := errorf(k, format, args...)
	e.Early = true
	return e
}

func errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}
