package certs

import (
	"crypto/tls"
	"encoding/binary"
	"time"
)

const (
	// maxSession is how long after its certificates were checked in full a TLS session may be resumed: a day, as in Java.
	maxSession = 24 * time.Hour
	// maxTicket bounds a session ticket, which holds the client's certificates and comes back in its first message.
	maxTicket = 16 << 10
)

// noTicket is given to a client whose session has no ticket: nothing that it could be resumed by.
var noTicket = []byte{0}

// connection is the configuration of one connection. Its session tickets are encrypted with keys that belong to this
// state alone and are changed every day: whoever was let in by other stores or settings, or by another listener, shakes
// hands in full. Go's TLS checks the dates and the authority of the certificates that a ticket carries; what it does not
// know is when these were shown, since a session that is resumed gets a new ticket: the ticket says so itself.
func (s *state) connection() *tls.Config {
	if s.config.SessionTicketsDisabled {
		return s.config
	}
	c := s.config.Clone()
	var shown [8]byte // when the certificates of the session that is resumed were, in seconds
	c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		session, err := s.config.DecryptTicket(ticket, cs)
		if err != nil || session == nil || len(session.Extra) != 1 || len(session.Extra[0]) != len(shown) {
			return nil, err
		}
		copy(shown[:], session.Extra[0])
		if s.seconds()-binary.BigEndian.Uint64(shown[:]) > uint64(maxSession/time.Second) {
			return nil, nil
		}
		return session, nil
	}
	c.WrapSession = func(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if !cs.DidResume {
			binary.BigEndian.PutUint64(shown[:], s.seconds())
		}
		session.Extra = append(session.Extra, shown[:])
		ticket, err := s.config.EncryptTicket(cs, session)
		if err == nil && len(ticket) > maxTicket {
			return noTicket, nil
		}
		return ticket, err
	}
	return c
}

// seconds is the time as tickets have it.
func (s *state) seconds() uint64 { return uint64(s.config.Time().Unix()) }
