package auth

import (
	"errors"
	"fmt"
)

// MaxTokenBytes bounds one token of a peer that is not known yet, whatever sasl.server.max.receive.size allows: what
// is longer is refused before it is looked at. Kerberos tickets with a full list of groups come near to it.
const MaxTokenBytes = 64 << 10

// maxPasswordBytes bounds the tokens of PLAIN, maxScramBytes those of SCRAM: names, nonces and proofs are short, and an
// exchange keeps its first messages until the last, on each of the connections that a stranger may open.
const (
	maxPasswordBytes = 8 << 10
	maxScramBytes    = 2 << 10
)

// tokenLimit is the longest token of a mechanism.
func tokenLimit(mechanism string) int {
	switch mechanism {
	case Plain:
		return maxPasswordBytes
	case ScramSHA256, ScramSHA512:
		return maxScramBytes
	}
	return MaxTokenBytes
}

// ErrUnsupportedMechanism says that a mechanism is not enabled on the listener: UNSUPPORTED_SASL_MECHANISM.
var ErrUnsupportedMechanism = errors.New("the SASL mechanism is not enabled on this listener")

// ErrOutOfOrder is a step after an exchange has ended or failed: ILLEGAL_SASL_STATE. The connection must be closed.
var ErrOutOfOrder = errors.New("unexpected token: the SASL exchange has ended")

// Identity is what a finished exchange proved.
type Identity struct {
	Principal Principal
	// ExpiresMs is when the credential ends, in Unix milliseconds; 0 is never.
	ExpiresMs int64
	// TokenID is the delegation token that proved it, or empty.
	TokenID string
}

// Credential is what a server keeps of a SCRAM password (RFC 5802, 3).
type Credential struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int
}

// String hides the keys.
func (Credential) String() string { return "[hidden]" }

// GoString hides the keys.
func (Credential) GoString() string { return "[hidden]" }

// Credentials is where SCRAM's are found. Both are called on connections' goroutines.
type Credentials interface {
	// User is the credential of a user for a mechanism, for example SCRAM-SHA-256.
	User(mechanism, name string) (Credential, bool)
	// Token is the credential of a delegation token, whom it speaks for, and when it ends in Unix milliseconds.
	Token(mechanism, id string) (c Credential, owner Principal, expiresMs int64, ok bool)
}

// Exchange is one authentication under way; used by one goroutine.
type Exchange interface {
	// Step takes the peer's token and gives the answer to it. done says that the peer is known; Identity tells
	// then as whom. An error ends the exchange; it is a *Refusal unless the exchange had ended before (ErrOutOfOrder).
	Step(token []byte) (answer []byte, done bool, err error)
	// Identity is what was proved. It is the zero Identity until Step said done.
	Identity() Identity
}

// Refusal is an error whose text the client may see, worded as Kafka's: the message of SASL_AUTHENTICATION_FAILED.
type Refusal struct {
	// Message is for the client.
	Message string
	// Cause is for the log of the node only. It holds no secret, but may tell whether there is such a user.
	Cause error

	mechanism string // of a refusal that tells the client nothing; empty for one that does
}

// Error is the client's text only, so that a refusal printed by mistake gives nothing away.
func (r *Refusal) Error() string { return r.Message }

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// AgainMessage is Message when the exchange was a re-authentication (KIP-368).
func (r *Refusal) AgainMessage() string {
	if r.mechanism == "" {
		return r.Message
	}
	return "Authentication failed during re-authentication due to invalid credentials with SASL mechanism " + r.mechanism
}

// hide refuses without telling the client why, as Kafka does wherever the reason could tell that a user exists.
func hide(mechanism, format string, args ...any) *Refusal {
	return &Refusal{
		Message:   "Authentication failed during authentication due to invalid credentials with SASL mechanism " + mechanism,
		Cause:     fmt.Errorf(format, args...),
		mechanism: mechanism,
	}
}

// refuse tells the client why.
func refuse(message string) *Refusal { return &Refusal{Message: message, Cause: errors.New(message)} }

// method is one step of a mechanism; guard calls it with tokens of bounded size and never after its end.
type method interface {
	step(token []byte) (answer []byte, done bool, err error)
	identity() Identity
}

// guard is what holds for every mechanism: bounded tokens, nothing after the end, no identity before it.
type guard struct {
	mechanism string
	method    method
	state     guardState
}

type guardState int8

const (
	guardOpen guardState = iota
	guardDone
	guardFailed
)

func (g *guard) Step(token []byte) ([]byte, bool, error) {
	if g.state != guardOpen {
		return nil, false, fmt.Errorf("SASL mechanism %s: %w", g.mechanism, ErrOutOfOrder)
	}
	if limit := tokenLimit(g.mechanism); len(token) > limit {
		g.state = guardFailed
		return nil, false, hide(g.mechanism, "a token of %d bytes is longer than the %d that are allowed", len(token), limit)
	}
	answer, done, err := g.method.step(token)
	switch {
	case err != nil:
		g.state = guardFailed
		return nil, false, err
	case done:
		g.state = guardDone
	}
	if answer == nil {
		answer = []byte{} // Kafka answers every SaslAuthenticate with bytes, never null.
	}
	return answer, done, nil
}

func (g *guard) Identity() Identity {
	if g.state != guardDone {
		return Identity{}
	}
	return g.method.identity()
}
