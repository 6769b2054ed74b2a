package wire

import "encoding/binary"

// RequestHeader stands before the body of a request. Version 2 of it ends with a tag section; version 1 has none.
// The client's name has the classic form in both.
type RequestHeader struct {
	APIKey        int16
	APIVersion    int16
	CorrelationID int32
	ClientID      string // empty if the client gave none
	NullClientID  bool   // the client gave none
}

// DecodeRequestHeader reads the header, whose version follows from the key and version of the API that it names.
// Versions above the known ones are taken to have the header of the highest known one, as in Kafka, because
// ApiVersions must answer such a request. For an unknown key the header has version 1.
func DecodeRequestHeader(r *Reader) (RequestHeader, error) {
	h := RequestHeader{APIKey: r.Int16(), APIVersion: r.Int16(), CorrelationID: r.Int32()}
	name, given := r.stringOf(int(r.Int16()), true)
	h.ClientID, h.NullClientID = name, !given
	if h.flexible() {
		r.skipTags()
	}
	return h, r.Err()
}

// flexible says whether the header ends with a tag section.
func (h *RequestHeader) flexible() bool {
	if h.APIKey < 0 || int(h.APIKey) >= len(APIs) {
		return false
	}
	return APIs[h.APIKey].Flexible(h.APIVersion)
}

// Append appends the header in the version that its API version asks for.
func (h *RequestHeader) Append(b []byte) []byte {
	b = AppendInt16(b, h.APIKey)
	b = AppendInt16(b, h.APIVersion)
	b = AppendInt32(b, h.CorrelationID)
	if h.NullClientID {
		b = AppendInt16(b, -1)
	} else {
		b = AppendString(b, h.ClientID)
	}
	if h.flexible() {
		b = append(b, 0)
	}
	return b
}

// flexibleResponseHeader says whether the header of the response ends with a tag section. Those of ApiVersions never
// do, because the client may not know yet which version the node speaks (KIP-511).
func flexibleResponseHeader(key, version int16) bool {
	return key != KeyApiVersions && key >= 0 && int(key) < len(APIs) && APIs[key].Flexible(version)
}

// AppendResponseHeader appends the header of the response to a request of this key and version.
func AppendResponseHeader(b []byte, key, version int16, correlationID int32) []byte {
	b = AppendInt32(b, correlationID)
	if flexibleResponseHeader(key, version) {
		b = append(b, 0)
	}
	return b
}

// DecodeResponseHeader reads the header of the response to a request of this key and version.
func DecodeResponseHeader(r *Reader, key, version int16) (correlationID int32, err error) {
	correlationID = r.Int32()
	if flexibleResponseHeader(key, version) {
		r.skipTags()
	}
	return correlationID, r.Err()
}

// AppendRequestFrame appends a whole request: its length, its header and its body.
func AppendRequestFrame(b []byte, h *RequestHeader, body Message) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = h.Append(b)
	b = body.Append(b, h.APIVersion)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// AppendResponseFrame appends a whole response: its length, its header and its body.
func AppendResponseFrame(b []byte, correlationID int32, body Message, version int16) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = AppendResponseHeader(b, body.APIKey(), version, correlationID)
	b = body.Append(b, version)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
