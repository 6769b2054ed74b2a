package broker

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/edge"
)

// leastBetweenLogins is how far apart the beginnings of two re-authentications of a connection are at least, as in Kafka.
const leastBetweenLogins = time.Second

// loginState is how far a connection's authentication has come.
type loginState int8

const (
	loginBegins    loginState = iota // ApiVersions or SaslHandshake
	loginHandshake                   // SaslHandshake only: the versions were told
	loginTokens                      // the mechanism's tokens
	loginDone                        // any request
	loginBadMech                     // a re-authentication that wants another mechanism than before
	loginFailed                      // nothing: the connection is about to end
)

// login is what is kept of one connection's authentication. It belongs to the connection's goroutine.
type login struct {
	state     loginState
	counts    *loginCounts
	mechanism string
	asked     string // the mechanism that a re-authentication wanted instead
	exchange  auth.Exchange
	// framed: tokens come in SaslAuthenticate requests (handshake version 1), not bare.
	framed bool
	// renews: the peer understands how long its session lasts (SaslAuthenticate version 1, KIP-368).
	renews bool
	// again: the peer was authenticated before, as who.
	again bool
	who   auth.Principal
	// ends is when the session is over, in the world's monotonic time; 0 is never.
	ends time.Duration
	// renewed is when the last re-authentication began; any tells whether there was one.
	renewed    time.Duration
	anyRenewal bool
}

// saslListener is what a listener with SASL authenticates with.
type saslListener struct {
	server *auth.Server
	counts *loginCounts
}

// door lets peers in: it speaks SASL with those who have not proved yet who they are.
type door struct {
	*Broker
	listeners atomic.Pointer[map[string]*saslListener] // nil: no listener has SASL
	refusals  refusalLog
	// open is the state of those on listeners without SASL; it never changes.
	open login
	// check tells whether the listeners could work with other settings; nil takes all.
	check func(*config.BrokerConfig) error
}

// unusable tells why the listeners could not work with dynamic settings of this node, empty if they could.
func (d *door) unusable(values config.Values) string {
	if d.check == nil {
		return ""
	}
	next, _ := d.config().WithDynamic(d.image().Config(metadata.Resource{Type: metadata.BrokerResource}), values) // what is not valid the controller refuses
	if err := d.check(next); err != nil {
		return "Validation of dynamic config update of SASL failed: " + err.Error()
	}
	return ""
}

// ofSASL tells the keys of SASL, with a listener's prefix and without.
func ofSASL(key string) bool {
	return strings.HasPrefix(key, "sasl.") || strings.Contains(key, ".sasl.")
}

// SetSASL has connections from now on authenticate with a server; exchanges under way go on with theirs.
func (b *Broker) SetSASL(listener string, server *auth.Server) {
	next := make(map[string]*saslListener)
	if old := b.door.listeners.Load(); old != nil {
		for name, l := range *old {
			next[name] = l
		}
	}
	counts := new(loginCounts)
	if old := next[listener]; old != nil {
		counts = old.counts
	}
	next[listener] = &saslListener{server: server, counts: counts}
	b.door.listeners.Store(&next)
}

// admitted says whether a request may be served; one that may not, it has answered. It is Kafka's SaslServerAuthenticator:
// before authentication only ApiVersions, SaslHandshake and SaslAuthenticate pass, in that order.
func (d *door) admitted(q *edge.Request) bool {
	identity := q.Conn().Identity()
	l, _ := identity.Login().(*login)
	if l == nil {
		listener := (*d.listeners.Load())[q.Conn().Listener()]
		if listener == nil {
			identity.SetLogin(&d.open)
			return true
		}
		l = &login{counts: listener.counts}
		identity.SetLogin(l)
	}
	switch l.state {
	case loginDone:
		return d.stillAdmitted(q, l)
	case loginBegins, loginHandshake:
		d.serveBeforeTokens(q, l)
	case loginTokens:
		d.serveToken(q, l)
	case loginBadMech:
		d.refuseLogin(q, l, fmt.Sprintf("SASL mechanism '%s' requested by client is not supported for re-authentication of mechanism '%s'", l.asked, l.mechanism), nil, nil)
	default:
		q.Hangup(nil)
	}
	return false
}

// stillAdmitted is admitted for a peer that has authenticated: it may begin anew, and must when its session is over.
func (d *door) stillAdmitted(q *edge.Request, l *login) bool {
	if l.ends == 0 {
		return true
	}
	now := d.world.Mono()
	if q.Key == wire.KeySaslHandshake && (!l.anyRenewal || now-l.renewed >= leastBetweenLogins) {
		l.renewed, l.anyRenewal = now, true
		l.again, l.framed = true, false
		l.state = loginHandshake
		q.Conn().SetFrameLimit(d.maxTokenFrame())
		d.serveBeforeTokens(q, l)
		return false
	}
	if now <= l.ends {
		return true
	}
	l.state = loginFailed
	l.counts.expired.Add(1)
	q.Hangup(fmt.Errorf("the session of %s is over (connections.max.reauth.ms, or the credential's end) and the client did not authenticate again before this %s request",
		bounded(l.who.String()), wire.APIName(q.Key)))
	return false
}

// maxTokenFrame bounds frames during authentication.
func (d *door) maxTokenFrame() int32 {
	return int32(d.config().GetInt("sasl.server.max.receive.size"))
}

// serveBeforeTokens serves ApiVersions and SaslHandshake, and ends connections that ask for anything else.
func (d *door) serveBeforeTokens(q *edge.Request, l *login) {
	r := served(q.Key)
	fits := q.Version >= r.min && q.Version <= r.max
	switch {
	case q.Key == wire.KeyApiVersions && l.state == loginBegins:
		if !fits {
			d.refuseAPIVersions(q)
			return
		}
		m := new(wire.ApiVersionsRequest)
		if !decoded(q, m) {
			return
		}
		answer := serveAPIVersions(d.Broker, q, m)
		if answer.ErrorCode == wire.None {
			l.state = loginHandshake
		}
		reply(q, answer)
	case q.Key == wire.KeySaslHandshake && fits:
		m := new(wire.SaslHandshakeRequest)
		if decoded(q, m) {
			d.handshake(q, l, m.Mechanism)
		}
	default:
		l.state = loginFailed
		q.Hangup(fmt.Errorf("listener %s: the request %s (version %d) came where SaslHandshake was due: give the client a security.protocol with SASL, or the address of another listener",
			q.Conn().Listener(), wire.APIName(q.Key), q.Version))
	}
}

// decoded decodes a request, or ends the connection.
func decoded(q *edge.Request, m wire.Message) bool {
	r := wire.NewReader(q.Body)
	m.Decode(r, q.Version)
	if err := r.Err(); err != nil {
		q.Hangup(malformed(q, err))
		return false
	}
	return true
}

// handshake begins the exchange of a mechanism (KIP-43, KIP-152).
//
// Differs from Kafka: who authenticates again with a mechanism that is not enabled is told so; Kafka just closes the connection.
func (d *door) handshake(q *edge.Request, l *login, mechanism string) {
	server := (*d.listeners.Load())[q.Conn().Listener()].server
	l.framed = q.Version >= 1
	answer := &wire.SaslHandshakeResponse{Mechanisms: server.Mechanisms()}
	x, err := server.Begin(mechanism)
	if err != nil {
		answer.ErrorCode = wire.UnsupportedSaslMechanism
		l.asked = mechanism
		d.refuseLogin(q, l, "Unsupported SASL mechanism "+bounded(mechanism), err, answer)
		return
	}
	if l.again && mechanism != l.mechanism {
		l.state, l.asked = loginBadMech, mechanism
	} else {
		l.state, l.mechanism, l.exchange = loginTokens, mechanism, x
		edge.TakeTokens(q.Conn(), !l.framed)
	}
	reply(q, answer)
}

// serveToken takes one token of the mechanism, bare or in a SaslAuthenticate request.
func (d *door) serveToken(q *edge.Request, l *login) {
	if !l.framed {
		d.step(q, l, q.Body)
		return
	}
	if q.Key != wire.KeySaslAuthenticate {
		d.refuseLogin(q, l, "a "+wire.APIName(q.Key)+" request came where SaslAuthenticate was due", nil, d.outOfOrder(q))
		return
	}
	if r := served(q.Key); q.Version < r.min || q.Version > r.max {
		l.state = loginFailed
		q.Hangup(fmt.Errorf("SaslAuthenticate has no version %d", q.Version))
		return
	}
	m := new(wire.SaslAuthenticateRequest)
	if decoded(q, m) {
		l.renews = l.renews || q.Version > 0
		d.step(q, l, m.AuthBytes)
	}
}

// outOfOrder is the answer to a request between the tokens, nil where the connection is closed without one.
//
// Differs from Kafka: of the requests that come before a login is through only SaslHandshake and ApiVersions are answered
// with ILLEGAL_SASL_STATE. Any other request is not taken apart before its sender is known.
func (d *door) outOfOrder(q *edge.Request) response {
	r := served(q.Key)
	fits := q.Version >= r.min && q.Version <= r.max
	switch {
	case q.Key == wire.KeySaslHandshake && fits:
		return serveSASLHandshake(d.Broker, q, nil)
	case q.Key == wire.KeyApiVersions && fits:
		return d.apiVersions(q, wire.IllegalSaslState)
	}
	return nil
}

// step hands a token to the exchange and sends its answer.
func (d *door) step(q *edge.Request, l *login, token []byte) {
	answer, done, err := l.exchange.Step(bytes.Clone(token))
	if err == nil && done && l.again {
		if who := l.exchange.Identity().Principal; who.Type != l.who.Type || who.Name != l.who.Name {
			err = &auth.Refusal{Message: fmt.Sprintf("Cannot change principals during re-authentication from %s.%s: %s.%s", l.who.Type, l.who.Name, who.Type, who.Name)}
		}
	}
	if err != nil {
		d.refuseStep(q, l, err)
		return
	}
	var lifetime int64
	if done {
		lifetime = d.loggedIn(q, l)
	}
	if !l.framed {
		resp := q.BeginToken()
		resp.Buf = append(resp.Buf, answer...)
		q.Reply()
		return
	}
	reply(q, &wire.SaslAuthenticateResponse{ErrorMessage: new(string), AuthBytes: answer, SessionLifetimeMs: lifetime})
}

// refuseStep ends an exchange that failed. The client sees no more of the reason than a Refusal allows.
func (d *door) refuseStep(q *edge.Request, l *login, err error) {
	text := "Authentication failed during authentication due to invalid credentials with SASL mechanism " + l.mechanism
	var r *auth.Refusal
	if errors.As(err, &r) {
		if text = r.Message; l.again {
			text = r.AgainMessage()
		}
		err = r.Cause
	}
	var answer response
	if l.framed {
		answer = &wire.SaslAuthenticateResponse{ErrorCode: wire.SaslAuthenticationFailed, ErrorMessage: &text}
	}
	d.refuseLogin(q, l, text, err, answer)
}

// loggedIn takes over what an exchange proved and gives the session's lifetime in ms, 0 without end (KIP-368).
func (d *door) loggedIn(q *edge.Request, l *login) int64 {
	proved := l.exchange.Identity()
	l.state, l.exchange, l.who = loginDone, nil, proved.Principal
	c := q.Conn()
	c.Identity().SetPrincipal(proved.Principal)
	c.SetFrameLimit(math.MaxInt32)
	edge.TakeTokens(c, false)
	l.counts.succeeded(d.world.Mono(), l)
	lifetime, limited := int64(math.MaxInt64), false
	if ms := d.maxReauthMs(c.Listener(), l.mechanism); ms > 0 {
		lifetime, limited = ms, true
	}
	if proved.ExpiresMs != 0 {
		lifetime, limited = min(lifetime, proved.ExpiresMs-clock.Millis(d.world.Now())), true
	}
	if l.ends = 0; !limited {
		return 0
	}
	lifetime = max(lifetime, 0)
	l.ends = max(d.world.Mono()+time.Duration(min(lifetime, math.MaxInt64/int64(4*time.Millisecond)))*time.Millisecond, 1)
	return lifetime
}

// maxReauthMs is connections.max.reauth.ms as it holds for a mechanism of a listener.
func (d *door) maxReauthMs(listener, mechanism string) int64 {
	text, _ := d.config().ForListener(listener, strings.ToLower(mechanism)+".connections.max.reauth.ms")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0 // the settings were checked: there is none
	}
	return ms
}

// refuseLogin ends a connection whose authentication failed: after connection.failed.authentication.delay.ms it gets the answer, if
// there is one, and is closed. Until then nothing is read of it.
func (d *door) refuseLogin(q *edge.Request, l *login, text string, cause error, answer response) {
	l.counts.failed(l)
	d.tellRefused(q, l, text, cause)
	l.state, l.exchange = loginFailed, nil
	edge.StopReading(q.Conn())
	if answer != nil {
		resp := q.Begin()
		resp.Buf = answer.Append(resp.Buf, q.Version)
	}
	q.Release()
	end := func() {
		if answer == nil {
			q.Hangup(errLoginFailed)
			return
		}
		q.ReplyAndHangup(errLoginFailed)
	}
	delay := time.Duration(d.config().GetInt("connection.failed.authentication.delay.ms")) * time.Millisecond
	if delay <= 0 {
		end()
		return
	}
	d.world.AfterFunc(delay, end)
}

// errLoginFailed ends a connection; why was told already, so that to edge it is nothing out of the ordinary.
var errLoginFailed = fmt.Errorf("authentication failed: %w", net.ErrClosed)

// tellRefused logs a failed authentication: who as far as the mechanism says, from where, how and why.
func (d *door) tellRefused(q *edge.Request, l *login, text string, cause error) {
	skipped, ok := d.refusals.allow(d.world.Mono())
	if !ok {
		return
	}
	what := "authentication failed"
	if l.again {
		what = "re-authentication failed"
	}
	c := q.Conn()
	attrs := []any{"listener", c.Listener(), "peer", c.RemoteAddr().String(), "connection", c.ID(), "client", bounded(q.ClientID), "mechanism", cmp.Or(l.mechanism, bounded(l.asked)), "reason", bounded(text)}
	if l.again {
		attrs = append(attrs, "principal", bounded(l.who.String()))
	} else if l.exchange != nil {
		attrs = append(attrs, "claims", bounded(auth.Claimed(l.exchange)))
	}
	if cause != nil && cause.Error() != text {
		attrs = append(attrs, "cause", bounded(cause.Error()))
	}
	d.logger.Info(what, append(attrs, "alike", skipped)...)
}

// serveSASLHandshake answers a handshake of a peer that cannot begin (anew): it has authenticated, or is on a listener without SASL.
func serveSASLHandshake(*Broker, *edge.Request, *wire.SaslHandshakeRequest) *wire.SaslHandshakeResponse {
	return &wire.SaslHandshakeResponse{ErrorCode: wire.IllegalSaslState}
}

// serveSASLAuthenticate answers a token for which no handshake was made.
func serveSASLAuthenticate(*Broker, *edge.Request, *wire.SaslAuthenticateRequest) *wire.SaslAuthenticateResponse {
	return &wire.SaslAuthenticateResponse{
		ErrorCode: wire.IllegalSaslState, ErrorMessage: text("SaslAuthenticate request received after successful authentication"),
	}
}
