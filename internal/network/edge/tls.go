package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// handshakeTimeout is how long a peer may take from its connection to the end of its TLS handshake.
	handshakeTimeout = 10 * time.Second
	// maxHandshakes bounds the handshakes under way: what each holds is its messages and its keys, some 40 KB.
	maxHandshakes = 512
	// yieldAfter is how long a handshake's peer may keep us waiting while others wait for a place.
	yieldAfter = time.Second
	// crowdAfter is the same for an address that has more than its share of the places, while another one waits.
	crowdAfter = 100 * time.Millisecond
	// yieldPause is the least time between two looks at whose peers had their time.
	yieldPause = 10 * time.Millisecond
)

// ListenTLS is Listen for connections that begin with a TLS handshake. It runs on the connection's goroutine before
// the first frame; then Options.Handshaken is asked who the peer is.
func (s *Server) ListenTLS(name, addr string, config *tls.Config) (net.Addr, error) {
	l, err := s.socketFor(name, addr)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	// Records of full size from the start: answers are large or go out in one piece, and nobody renders them as they come.
	config.DynamicRecordSizingDisabled = true
	if err := s.serve(name, l, config); err != nil {
		return nil, err
	}
	return l.Addr(), nil
}

// secure makes a connection over TLS of one over TCP.
func secure(c *Conn, config *tls.Config) {
	c.below = &below{Conn: c.socket, conn: c, raw: c.raw, pools: c.pools}
	c.tls = tls.Server(c.below, config)
	c.socket = c.tls
	if c.raw != nil {
		c.readable = c.in.readSecure
	}
}

// handshake brings a connection over TLS to its first frame.
func handshake(c *Conn) error {
	c.shaking.Store(true)
	defer c.shaking.Store(false)
	c.mu.Lock()
	stops := c.draining // drain came before it could see that a handshake is under way
	c.mu.Unlock()
	if stops || c.broken.Load() {
		return errDrained
	}
	if err := c.tls.SetDeadline(c.server.world.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := c.below.awaitFirst(); err != nil {
		return refuseHandshake(c, err)
	}
	if !c.server.handshakes.enter(c) {
		return refuse(HandshakeTooSlow, "%d TLS handshakes were under way on the listeners, and none ended within %v: is somebody opening connections without end?",
			maxHandshakes, handshakeTimeout)
	}
	c.below.compute()
	err := c.tls.HandshakeContext(context.Background())
	c.below.pause()
	c.server.handshakes.leave(c)
	if err != nil {
		return refuseHandshake(c, err)
	}
	c.below.shaken.Store(true)
	if err := c.tls.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if _, ok := c.server.options.FirstFrameBytes[c.listener]; !ok {
		c.server.guests.leave(c) // nothing else is asked of it
	}
	if f := c.server.options.Handshaken; f != nil {
		if err := f(c, c.tls.ConnectionState()); err != nil {
			return refuse(PeerUnknown, "the TLS client's certificate was accepted, but not its name: %v", err)
		}
	}
	return nil
}

// refuseHandshake says what a failed handshake means, and what to do.
func refuseHandshake(c *Conn, err error) error {
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var invalid *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case c.below.yielded.Load():
		return refuse(HandshakeTooSlow, "a TLS handshake on listener %s gave way, as others waited for its place (after %v, or %v where its address has most of them)",
			c.listener, yieldAfter, crowdAfter)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(HandshakeTooSlow, "a TLS handshake on listener %s was not finished within %v", c.listener, handshakeTimeout)
	case errors.As(err, &header) && header.Conn != nil:
		return refusePlain(c, header.RecordHeader[:])
	case errors.As(err, &invalid):
		return refuse(CertificateRefused, "a client's certificate on listener %s was not accepted: %v (ssl.truststore.* holds the authorities that are trusted for clients)",
			c.listener, explainCertificate(invalid))
	case strings.Contains(text, "client didn't provide a certificate"):
		return refuse(CertificateRefused, "a client showed no certificate on listener %s, which has ssl.client.auth=required: give the client ssl.keystore.*", c.listener)
	case strings.Contains(text, "client offered only unsupported versions"), strings.Contains(text, "protocol version not supported"):
		return refuse(NoCommonTLS, "a client on listener %s offers no TLS version that ssl.enabled.protocols allows: %v", c.listener, err)
	case strings.Contains(text, "no cipher suite supported by both"):
		return refuse(NoCommonTLS, "a client on listener %s offers no cipher suite that ssl.cipher.suites and the type of our key allow: %v", c.listener, err)
	case errors.As(err, &alert), strings.HasPrefix(text, "remote error: "):
		return refuse(RejectedByPeer, "a client on listener %s rejected us in the TLS handshake: %v (does its trust store have our authority, and is the address it connects to in our certificate?)",
			c.listener, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), ordinary(err):
		return err
	default:
		return refuse(HandshakeFailed, "a TLS handshake on listener %s failed: %v", c.listener, err)
	}
}

// explainCertificate leaves out the certificates themselves.
func explainCertificate(e *tls.CertificateVerificationError) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(e.Err, &unknown) && len(e.UnverifiedCertificates) > 0 {
		leaf := e.UnverifiedCertificates[0]
		return fmt.Errorf("%q was issued by %q, which is not a trusted authority", leaf.Subject, leaf.Issuer)
	}
	return e.Err
}

// refusePlain is the end of a peer that does not speak TLS where it must.
func refusePlain(c *Conn, head []byte) error {
	if noise(head) == HTTPClient {
		text := httpAnswer(c)
		c.below.Write([]byte(text)) //nolint:errcheck // a courtesy
		return refuse(HTTPClient, "an HTTP client spoke to the Kafka listener %s: it has the wrong port", c.listener)
	}
	return refuse(PlaintextClient, "a client spoke plaintext to the listener %s, which has TLS: give the client security.protocol=SSL (or SASL_SSL), "+
		"or the address of a plaintext listener", c.listener)
}

// smallReply is up to which size answers are encrypted by a goroutine that only came to answer: a record.
const smallReply = joinBytes

// sendSecure puts out segs over TLS, in few large pieces.
func (w *writer) sendSecure() progress {
	b := w.conn.below
	if !w.block && (b.raw == nil || !w.small()) {
		return blocked
	}
	switch ok, err := b.cork(w.block); {
	case err != nil:
		w.err = err
		return failed
	case !ok:
		return blocked
	}
	for ; w.first < len(w.segs); w.first++ {
		if w.sendStream(&w.segs[w.first]) != nil {
			return failed
		}
	}
	sent, err := b.uncork(w.block)
	switch {
	case err != nil:
		w.err = err
		return failed
	case !sent:
		return blocked // carryOn sends the rest
	}
	return finished
}

// small says that segs are no work worth mentioning.
func (w *writer) small() bool {
	n := 0
	for i := range w.segs {
		if n += len(w.segs[i].mem); n > smallReply || w.segs[i].file != nil {
			return false
		}
	}
	return true
}
