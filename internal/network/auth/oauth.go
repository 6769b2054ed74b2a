package auth

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const oauthModule = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"

// bearer is what a valid token says.
type bearer struct {
	name      string
	expiresMs int64
}

// tokenFault is why a token is not valid. status and scope go to the client (RFC 7628, 3.2.2), the cause to the log.
type tokenFault struct {
	status, scope string
	cause         error
}

func (f *tokenFault) Error() string { return f.cause.Error() }

func invalidToken(format string, args ...any) *tokenFault {
	return &tokenFault{status: "invalid_token", cause: fmt.Errorf(format, args...)}
}

// json is the answer to the client, letter by letter as Kafka writes it.
func (f *tokenFault) json() string {
	text := `{"status":"` + f.status + `"`
	if f.scope != "" {
		text += `, "scope":"` + f.scope + `"`
	}
	return text + "}"
}

// validator checks tokens; it may be called by any goroutine. The error is a *tokenFault.
type validator interface {
	validate(token string) (bearer, *tokenFault)
}

// newOAuth chooses how tokens are checked. Without a key source nothing starts: a server that takes tokens which it cannot
// check would take anybody for anybody (CVE-2026-33557).
func (s *Server) newOAuth(o *Options) (func() method, error) {
	url, _ := o.Setting(OAuthBearer, "sasl.oauthbearer.jwks.endpoint.url")
	if url == "" {
		v, err := newUnsecured(o)
		if err != nil {
			return nil, err
		}
		return func() method { return &oauthExchange{tokens: v} }, nil
	}
	if _, _, err := o.optionalLogin(OAuthBearer, oauthModule); err != nil {
		return nil, err
	}
	v, err := newJWTValidator(o)
	if err != nil {
		return nil, err
	}
	if v.keys, err = newKeySet(o, url); err != nil {
		return nil, fmt.Errorf("sasl.oauthbearer.jwks.endpoint.url: %w", err)
	}
	s.close = append(s.close, v.keys.close)
	return func() method { return &oauthExchange{tokens: v} }, nil
}

// oauthExchange is RFC 7628 with the rules and words of Kafka's OAuthBearerSaslServer: a token, and if that is not
// valid a JSON object that says so, the client's 0x01, and the refusal.
type oauthExchange struct {
	tokens validator
	fault  *tokenFault
	who    Identity
}

func (x *oauthExchange) identity() Identity { return x.who }

func (x *oauthExchange) step(token []byte) ([]byte, bool, error) {
	if x.fault != nil {
		// Differs from Kafka: after an OAUTHBEARER token was refused nothing but the acknowledgement of the error is read;
		// Kafka takes another token, as often as a client likes.
		return nil, false, &Refusal{Message: x.fault.json(), Cause: x.fault}
	}
	first, err := parseBearerResponse(string(token))
	if err != nil {
		return nil, false, hide(OAuthBearer, "%w", err)
	}
	known, fault := x.tokens.validate(first.token)
	if fault != nil {
		x.fault = fault
		return []byte(fault.json()), false, nil
	}
	if first.authorization != "" && first.authorization != known.name {
		return nil, false, refuse(fmt.Sprintf("Authentication failed: Client requested an authorization id (%s) that is different from the token's principal name (%s)", first.authorization, known.name))
	}
	x.who = Identity{Principal: Principal{Type: UserType, Name: known.name}, ExpiresMs: known.expiresMs}
	return nil, true, nil
}

// bearerResponse is a client's first message (RFC 7628, 3.1).
type bearerResponse struct {
	authorization string
	token         string
}

var errBearer = errors.New("Invalid OAUTHBEARER client first message")

// parseBearerResponse reads n,[a=NAME],^A(KEY=VALUE^A)*^A by the patterns of Kafka's OAuthBearerClientInitialResponse. All
// pairs but auth are SASL extensions; they must be well formed, and nothing is made of them.
func parseBearerResponse(text string) (bearerResponse, error) {
	var b bearerResponse
	rest, ok := strings.CutPrefix(text, "n,")
	if !ok {
		return b, errBearer
	}
	authorization, rest, ok := strings.Cut(rest, ",")
	if !ok {
		return b, errBearer
	}
	if authorization != "" {
		name, found := strings.CutPrefix(authorization, "a=")
		if b.authorization, ok = saslName(name); !ok || !found {
			return b, errBearer
		}
	}
	if rest, ok = strings.CutPrefix(rest, "\x01"); !ok {
		return b, errBearer
	}
	if rest, ok = strings.CutSuffix(rest, "\x01"); !ok {
		return b, errBearer
	}
	credential, found := "", false
	for rest != "" {
		var pair string
		if pair, rest, ok = strings.Cut(rest, "\x01"); !ok {
			return b, errBearer
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || !letters(key) || !extensionValue(value) {
			return b, errBearer
		}
		if key == "auth" {
			credential, found = value, true
		}
	}
	if !found {
		return b, fmt.Errorf("%w: 'auth' not specified", errBearer)
	}
	scheme, token, ok := strings.Cut(credential, " ")
	b.token = strings.TrimLeft(token, " ")
	if !ok || !bearerToken(b.token) {
		return b, fmt.Errorf("%w: invalid 'auth' format", errBearer)
	}
	if !strings.EqualFold(scheme, "bearer") {
		return b, fmt.Errorf("%w: invalid scheme", errBearer)
	}
	return b, nil
}

func extensionValue(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < 0x20 || c > 0x7e) && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return text != ""
}

// bearerToken is b64token of RFC 6750, 2.1.
func bearerToken(text string) bool {
	body := strings.TrimRight(text, "=")
	for i := range len(body) {
		c := body[i]
		if !letters(body[i:i+1]) && (c < '0' || c > '9') && !strings.ContainsRune("-_~+/.", rune(c)) {
			return false
		}
	}
	return body != ""
}

// text is a setting, or what holds if it is not set.
func (o *Options) text(mechanism, key, preset string) string {
	if v, ok := o.Setting(mechanism, key); ok && v != "" {
		return v
	}
	return preset
}

// number is a setting that is a number of at least least.
func (o *Options) number(mechanism, key string, preset, least int64) (int64, error) {
	v, ok := o.Setting(mechanism, key)
	if !ok || v == "" {
		return preset, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > int64(maxWait/time.Millisecond) {
		return 0, fmt.Errorf("%s is %q: it must be a number from %d to %d", key, v, least, int64(maxWait/time.Millisecond))
	}
	return n, nil
}

// maxWait bounds settings that are times.
const maxWait = 10 * 365 * 24 * time.Hour
