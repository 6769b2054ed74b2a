package edge

import "github.com/moldau/moldau/internal/format/wire"

// TokenVersion is the version of a SaslAuthenticate request whose frame is a bare token: there is no header, neither
// in the request nor in its answer. Such are the frames that follow SaslHandshake version 0 (KIP-43).
const TokenVersion = -1

// TakeTokens says whether the frames that follow are bare tokens. It is for Handler.Serve only: frames that have been
// taken apart already stay what they are.
func TakeTokens(c *Conn, on bool) { c.in.tokens = on }

// StopReading ends the connection once the requests that the handler has are answered. Nothing more is read of the
// peer, and what it has sent already is not served.
func StopReading(c *Conn) {
	if c.direct == nil {
		c.drain()
	}
}

// BeginToken borrows a buffer for an answer that is a bare token.
func (q *Request) BeginToken() *Response {
	q.begin()
	return &q.reply
}

// header takes a frame's header apart. A bare token has none, and whatever its bytes are they name no API.
func (in *reader) header(frame []byte) (header, Reason) {
	if in.tokens {
		return header{key: wire.KeySaslAuthenticate, version: TokenVersion}, none
	}
	return parseHeader(frame)
}

// least is how many bytes a frame has at least.
func (in *reader) least() int {
	if in.tokens {
		return 0
	}
	return minHeaderBytes
}
