package edge

import (
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// noise tells what a stranger's first four bytes are.
func noise(b []byte) Reason {
	if b[0] == 0x16 && b[1] == 0x03 {
		return TLSClient
	}
	for _, verb := range [...]string{"GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI "} {
		if string(b[:4]) == verb {
			return HTTPClient
		}
	}
	if string(b[:4]) == "SSH-" {
		return SSHClient
	}
	return none
}

// refuseSize is the answer to a frame length that cannot be.
func (c *Conn) refuseSize(frame []byte, size int) error {
	switch noise(frame) {
	case TLSClient:
		return refuse(TLSClient, "a TLS client spoke to the plaintext listener %s: give the client security.protocol=PLAINTEXT, "+
			"or the address of a listener with SSL", c.listener)
	case SSHClient:
		return refuse(SSHClient, "an SSH client spoke to the Kafka listener %s: it has the wrong port", c.listener)
	case HTTPClient:
		c.answerHTTP()
		return refuse(HTTPClient, "an HTTP client spoke to the Kafka listener %s: it has the wrong port", c.listener)
	}
	switch limit := c.frameLimit.Load(); {
	case size < 0:
		return refuse(FrameNegative, "a request claims to have %d bytes: the peer does not speak Kafka's protocol", size)
	case size > int(limit):
		return refuse(FrameTooLarge, "a request claims to have %d bytes, the limit is %d (socket.request.max.bytes; less before authentication): "+
			"make the client's max.request.size smaller, or raise the limit", size, limit)
	default:
		return refuse(BadHeader, "a request of %d bytes is shorter than its header", size)
	}
}

// gssapiToken is the first byte of GSSAPI's initial token (RFC 2743, 3.1); no API has a number that begins with it.
const gssapiToken = 0x60

// refuseHeader is the answer to a header that Kafka would close the connection for.
func refuseHeader(why Reason, key, version int16) error {
	switch {
	case why == UnknownAPI && key>>8 == gssapiToken:
		return refuse(why, "a request begins like a GSSAPI token without a SaslHandshake before it: clients older than Kafka 0.10 are not served, upgrade the client")
	case why == UnknownAPI:
		return refuse(why, "a request has the unknown API key %d (version %d): the client is newer than this server, or does not speak Kafka's protocol", key, version)
	case why == UnsupportedVersion:
		api, _ := wire.Lookup(key)
		return refuse(why, "a %s request has version %d, which is outside %d to %d: the client did not ask for the versions (ApiVersions), or is too old",
			api.Name, version, api.Min, api.Max)
	default:
		return refuse(why, "a request header (API key %d, version %d) is cut short or malformed", key, version)
	}
}

// answerHTTP tells a browser where it is. What it sent is taken off the socket
// first, where that is possible, so that the close does not destroy the answer.
func (c *Conn) answerHTTP() {
	if c.tls == nil {
		c.tellStranger(httpAnswer(c))
		return
	}
	c.tls.SetWriteDeadline(c.server.world.Now().Add(courtesy)) //nolint:errcheck // a courtesy
	c.tls.Write([]byte(httpAnswer(c)))                         //nolint:errcheck // a courtesy
}

// courtesy is how long a stranger may take to read what we have to say.
const courtesy = time.Second

func httpAnswer(c *Conn) string {
	text := fmt.Sprintf("This is the listener %s of a Moldau broker. It speaks Kafka's binary protocol, not HTTP: "+
		"point a Kafka client here (bootstrap.servers=%s).\n", c.listener, c.LocalAddr())
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(text), text)
}
