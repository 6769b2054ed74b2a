package record

import (
	"encoding/binary"
	"errors"
)

// ErrShort says that the bytes end before the entry does: read more, or the tail is torn.
var ErrShort = errors.New("bytes end within a record batch")

// Next cuts the first batch off a run of batches. It looks at length and magic only. At the end of the
// run batch is nil and err is nil. It returns ErrShort when the batch is not whole, an *Error of kind
// Corrupt for an impossible length, of kind OldFormat for a message set of format 0 or 1.
func Next(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, nil
	}
	if len(b) < LogOverhead {
		return nil, b, ErrShort
	}
	size := int(int32(binary.BigEndian.Uint32(b[offLength:]))) + LogOverhead
	if size <= offMagic {
		return nil, b, errorf(Corrupt, "record batch is corrupt: it claims a size of %d bytes", size)
	}
	if len(b) > offMagic {
		if err := checkMagic2(int8(b[offMagic]), size); err != nil {
			return nil, b, err
		}
	}
	if size > len(b) {
		return nil, b, ErrShort
	}
	return Batch(b[:size:size]), b[size:], nil
}

func checkMagic2(magic int8, size int) error {
	switch {
	case magic == 0 || magic == 1:
		return errorf(OldFormat, "message format %d where format 2 is required", magic)
	case magic != 2:
		return errorf(Corrupt, "record batch is corrupt: unknown message format %d", magic)
	case size < HeaderSize:
		return errorf(Corrupt, "record batch is corrupt: its size of %d bytes is less than a header", size)
	}
	return nil
}
