package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// probePatience is how long a probe waits for an answer or the end of its connection.
const probePatience = 5 * time.Second

// probe is what a client sends that is in a hurry, mistaken or hostile, one step after the answer to the one before.
type probe struct {
	name     string
	listener int
	differs  string // why Moldau's answer is another on purpose
	steps    []any  // a kmsg.Request, bytes sent as they are, a token (a frame without header), or a time to wait
}

// token is a frame without a header, as after SaslHandshake 0.
type token string

func versions() kmsg.Request {
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version, r.ClientSoftwareName, r.ClientSoftwareVersion = 3, "probe", "1"
	return r
}

func handshake(version int16, mechanism string) kmsg.Request {
	r := kmsg.NewPtrSASLHandshakeRequest()
	r.Version, r.Mechanism = version, mechanism
	return r
}

func authenticate(token string) kmsg.Request {
	r := kmsg.NewPtrSASLAuthenticateRequest()
	r.Version, r.SASLAuthBytes = 2, []byte(token)
	return r
}

func metadata() kmsg.Request {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 12
	return r
}

// probes are all of them.
func probes() []probe {
	const pia, tom = "\x00pia\x00pia-secret", "\x00tom\x00tom-secret"
	size := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	future := kmsg.NewPtrApiVersionsRequest()
	future.Version = 3
	nameless := kmsg.NewPtrApiVersionsRequest()
	nameless.Version, nameless.ClientSoftwareName = 3, "no name!"
	plain := handshake(1, "PLAIN")
	return []probe{
		{"Metadata before authentication", onSASL, "", []any{metadata()}},
		{"Metadata after ApiVersions", onSASL, "", []any{versions(), metadata()}},
		{"ApiVersions twice", onSASL, "", []any{versions(), versions()}},
		{"ApiVersions without a name", onSASL, "", []any{future}},
		{"ApiVersions with a name that is none", onSASL, "", []any{nameless}},
		{"unknown mechanism", onSASL, "", []any{handshake(1, "MAGIC"), plain}},
		{"mechanism in lower case", onSASL, "", []any{handshake(1, "plain")}},
		{"SaslHandshake twice", onSASL, "", []any{plain, plain}},
		{"ApiVersions after SaslHandshake", onSASL, "", []any{plain, versions()}},
		{"Metadata after SaslHandshake", onSASL, "Kafka answers the request with an error before it closes the connection", []any{plain, metadata()}},
		{"SaslAuthenticate without SaslHandshake", onSASL, "", []any{authenticate(pia)}},
		{"PLAIN", onSASL, "", []any{plain, authenticate(pia), metadata()}},
		{"PLAIN with its own authorization id", onSASL, "", []any{plain, authenticate("pia" + pia), metadata()}},
		{"PLAIN with another authorization id", onSASL, "", []any{plain, authenticate("root" + pia), metadata()}},
		{"PLAIN with nothing", onSASL, "", []any{plain, authenticate("")}},
		{"PLAIN with empty parts", onSASL, "", []any{plain, authenticate("\x00\x00")}},
		{"PLAIN with too many parts", onSASL, "", []any{plain, authenticate(pia + "\x00")}},
		{"PLAIN without password", onSASL, "", []any{plain, authenticate("\x00pia\x00")}},
		{"SCRAM of another user's name", onSASL, "", []any{handshake(1, "SCRAM-SHA-256"), authenticate("n,a=root,n=sam,r=abc")}},
		{"SCRAM with channel binding", onSASL, "", []any{handshake(1, "SCRAM-SHA-256"), authenticate("p=tls-unique,,n=sam,r=abc")}},
		{"SCRAM that is none", onSASL, "", []any{handshake(1, "SCRAM-SHA-512"), authenticate("sesame")}},
		{"SCRAM with an extension that must be known", onSASL, "Kafka goes on, RFC 5802 wants a refusal", []any{handshake(1, "SCRAM-SHA-256"), authenticate("n,,m=x,n=sam,r=abc")}},
		{"OAUTHBEARER that is none", onSASL, "Kafka closes the connection without an answer", []any{handshake(1, "OAUTHBEARER"), authenticate("n,,\x01auth=Basic abc\x01\x01")}},
		{"OAUTHBEARER with a token that is none", onSASL, "", []any{handshake(1, "OAUTHBEARER"), authenticate("n,,\x01auth=Bearer abc\x01\x01"), authenticate("\x01")}},
		{"GSSAPI that is none", onSASL, "", []any{handshake(1, "GSSAPI"), authenticate("abc")}},
		{"SaslHandshake 0 and a bare token", onSASL, "", []any{handshake(0, "PLAIN"), token(pia), metadata()}},
		{"SaslHandshake 0 and a wrong bare token", onSASL, "", []any{handshake(0, "PLAIN"), token(pia + "x")}},
		{"SaslHandshake once more after authentication", onSASL, "", []any{plain, authenticate(pia), plain}},
		{"SaslAuthenticate once more after authentication", onSASL, "", []any{plain, authenticate(pia), authenticate(pia)}},
		{"a frame of 2 GB", onSASL, "", []any{size(1<<31 - 1)}},
		{"a frame of a negative length", onSASL, "", []any{size(1<<32 - 1)}},
		{"a frame longer than is taken before authentication", onSASL, "", []any{size(1 << 20)}},
		{"an empty frame", onSASL, "", []any{size(0)}},
		{"plain text where TLS is spoken", onTLS, "", []any{versions()}},
		{"plain text where TLS is spoken, before SASL", onSASLS, "", []any{plain}},
		{"TLS where plain text is spoken", onSASL, "", []any{[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")}},
		{"SaslHandshake where there is no SASL", onPlain, "", []any{plain, metadata()}},
		{"SaslAuthenticate where there is no SASL", onPlain, "", []any{authenticate(pia), metadata()}},
		{"authenticated anew in time", onAgain, "", []any{plain, authenticate(pia), metadata(), 1800 * time.Millisecond, plain, authenticate(pia), 1800 * time.Millisecond, metadata()}},
		{"not authenticated anew in time", onAgain, "", []any{plain, authenticate(pia), metadata(), 3600 * time.Millisecond, metadata()}},
		{"authenticated anew as another", onAgain, "", []any{plain, authenticate(pia), 1800 * time.Millisecond, plain, authenticate(tom), metadata()}},
		{"authenticated anew with another mechanism", onAgain, "", []any{plain, authenticate(pia), 1800 * time.Millisecond, handshake(1, "GSSAPI"), metadata()}},
		{"authenticated anew with a wrong password", onAgain, "", []any{plain, authenticate(pia), 1800 * time.Millisecond, plain, authenticate(pia + "x"), metadata()}},
		{"authenticated anew at once", onAgain, "", []any{plain, authenticate(pia), plain, authenticate(pia), metadata()}},
	}
}

// probe runs all probes on one broker, side by side.
func (p *securitySuite) probe(ctx context.Context, b *securityBroker) {
	all := probes()
	ended := make([]string, len(all))
	var wg sync.WaitGroup
	for i, pr := range all {
		wg.Go(func() { ended[i] = pr.run(ctx, b.at(pr.listener)) })
	}
	wg.Wait()
	b.probes = outcomes{text: map[string]string{}, differs: map[string]string{}}
	for i, pr := range all {
		b.probes.names = append(b.probes.names, pr.name)
		b.probes.text[pr.name], b.probes.differs[pr.name] = ended[i], pr.differs
	}
}

// run sends the steps, and tells of each how it was answered.
func (pr probe) run(ctx context.Context, addr string) string {
	c, err := (&net.Dialer{Timeout: probePatience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("probe"))
	var said []string
	for i, step := range pr.steps {
		frame, expect := []byte(nil), kmsg.Request(nil)
		switch s := step.(type) {
		case time.Duration:
			pause(ctx, s)
			continue
		case kmsg.Request:
			frame, expect = format.AppendRequest(nil, s, int32(i)), s
		case token:
			frame = append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
		case []byte:
			frame = s
		}
		_ = c.SetDeadline(time.Now().Add(probePatience))
		if _, err := c.Write(frame); err != nil {
			return strings.Join(append(said, "closed"), ", then ")
		}
		answer, err := pr.answer(c, expect)
		if err != nil {
			return strings.Join(append(said, err.Error()), ", then ")
		}
		said = append(said, answer)
	}
	return strings.Join(said, ", then ")
}

// answer reads one frame and tells what it says. The error is the connection's end.
func (pr probe) answer(c net.Conn, to kmsg.Request) (string, error) {
	var head [4]byte
	_, err := io.ReadFull(c, head[:])
	n := binary.BigEndian.Uint32(head[:])
	if err == nil && n > 1<<20 { // no frame: an alert of TLS
		_, err = io.Copy(io.Discard, c)
		if err == nil {
			err = io.EOF
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", errors.New("no answer")
	case err != nil:
		return "", errors.New("closed")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c, body); err != nil {
		return "", errors.New("closed within an answer")
	}
	if to == nil {
		return fmt.Sprintf("%d bytes", n), nil
	}
	return describe(to, body), nil
}

// describe tells what a response says, without what differs between two brokers.
func describe(to kmsg.Request, body []byte) string {
	resp := to.ResponseKind()
	r := kbin.Reader{Src: body}
	r.Int32() // the correlation id
	if to.IsFlexible() && to.Key() != int16(kmsg.ApiVersions) {
		kmsg.SkipTags(&r)
	}
	src := slices.Clone(r.Src)
	err := resp.ReadFrom(src)
	if v, ok := resp.(*kmsg.ApiVersionsResponse); ok && err != nil { // an older version says that this one is not served
		v.Version = 0
		err = v.ReadFrom(src)
	}
	if err != nil {
		return fmt.Sprintf("%d bytes that cannot be read: %v", len(body), err)
	}
	code := func(c int16) string {
		if err := errorOf(c); err != nil {
			return strings.SplitN(err.Error(), ":", 2)[0]
		}
		return "fine"
	}
	switch r := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		return "ApiVersions " + code(r.ErrorCode)
	case *kmsg.SASLHandshakeResponse:
		slices.Sort(r.SupportedMechanisms)
		return fmt.Sprintf("SaslHandshake %s %v", code(r.ErrorCode), r.SupportedMechanisms)
	case *kmsg.SASLAuthenticateResponse:
		text, more := "", ""
		if r.ErrorMessage != nil {
			text = " " + *r.ErrorMessage
		}
		if r.SessionLifetimeMillis > 0 {
			more = " for a while"
		}
		return fmt.Sprintf("SaslAuthenticate %s%s%s %q", code(r.ErrorCode), text, more, r.SASLAuthBytes)
	}
	return "answered"
}
