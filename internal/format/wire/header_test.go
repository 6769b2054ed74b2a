package wire

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRequestHeaderAgreesWithOracle(t *testing.T) {
	client := "client-ü"
	for i := range APIs {
		a := &APIs[i]
		for version := a.Min; version <= a.Max; version++ {
			for _, id := range []*string{nil, &client} {
				oracle := kmsg.RequestForKey(a.Key)
				if version > oracle.MaxVersion() {
					continue
				}
				oracle.SetVersion(version)
				f := kmsg.NewRequestFormatter()
				if id != nil {
					f = kmsg.NewRequestFormatter(kmsg.FormatterClientID(*id))
				}
				frame := f.AppendRequest(nil, oracle, 77)
				h := RequestHeader{APIKey: a.Key, APIVersion: version, CorrelationID: 77, NullClientID: id == nil}
				if id != nil {
					h.ClientID = *id
				}
				body := a.NewRequest()
				r := NewReader(frame[4:])
				got, err := DecodeRequestHeader(r)
				if err != nil || got != h {
					t.Fatalf("%s %d: got %+v, want %+v, error %v", a.Name, version, got, h, err)
				}
				if body.Decode(r, version); r.Finish() != nil {
					t.Fatalf("%s %d: the header ends in the wrong place: %v", a.Name, version, r.Err())
				}
				if again := AppendRequestFrame(nil, &h, body); !bytes.Equal(again, frame) {
					t.Fatalf("%s %d: got %x, want %x", a.Name, version, again, frame)
				}
			}
		}
	}
}

func TestResponseHeaderVersions(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		want         []byte
	}{
		{KeyFetch, 11, []byte{0, 0, 0, 5}},
		{KeyFetch, 12, []byte{0, 0, 0, 5, 0}},
		{KeyApiVersions, 0, []byte{0, 0, 0, 5}},
		{KeyApiVersions, 4, []byte{0, 0, 0, 5}},
		{KeySaslHandshake, 1, []byte{0, 0, 0, 5}},
		{KeyVote, 0, []byte{0, 0, 0, 5, 0}},
		{1000, 0, []byte{0, 0, 0, 5}},
		{-1, 0, []byte{0, 0, 0, 5}},
	} {
		b := AppendResponseHeader(nil, c.key, c.version, 5)
		if !bytes.Equal(b, c.want) {
			t.Errorf("%s %d: got %x, want %x", APIName(c.key), c.version, b, c.want)
		}
		r := NewReader(b)
		if id, err := DecodeResponseHeader(r, c.key, c.version); id != 5 || err != nil || r.Finish() != nil {
			t.Errorf("%s %d: got %d, error %v", APIName(c.key), c.version, id, err)
		}
	}
}

func TestResponseFrame(t *testing.T) {
	got := AppendResponseFrame([]byte{9}, 5, &HeartbeatResponse{ErrorCode: NotCoordinator}, 4)
	want := []byte{9, 0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 16, 0}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestHeaderOfUnknownAPIVersionIsRead(t *testing.T) {
	in := []byte{0, 18, 0x7f, 0xff, 0, 0, 0, 9, 0, 1, 'c', 0, 1, 2, 3}
	h, err := DecodeRequestHeader(NewReader(in))
	if err != nil || h.CorrelationID != 9 || h.APIVersion != 0x7fff || h.ClientID != "c" {
		t.Errorf("got %+v, error %v", h, err)
	}
}
