package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/moldau/moldau/internal/clock"
)

// Bounds of tokens, which strangers write. All of them are above what identity providers issue.
const (
	maxHeaderBytes    = 8 << 10
	maxSignatureBytes = 4 << 10 // that of an RSA key of 16,384 bits has 2,731
	maxJSONDepth      = 16
	maxJSONMembers    = 4096
	maxKeysTried      = 8
	maxKeyIDBytes     = 1000
	minRSABits        = 2048
	maxRSABits        = 16384
	maxNumericDate    = 253402300799 // the end of the year 9999
	maxClaimNameSize  = 256
)

// signatures are the algorithms that a token may be signed with. There is no "none", and no HMAC: with that whoever knows
// the public key could sign (algorithm confusion).
var signatures = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// jwtValidator checks signed tokens as Kafka's BrokerJwtValidator does.
type jwtValidator struct {
	clock      clock.Clock
	keys       *keySet
	skewMs     int64
	audience   []string // one of these; nil: any
	issuer     string   // exactly this; empty: any
	scopeClaim string
	subClaim   string
}

func newJWTValidator(o *Options) (*jwtValidator, error) {
	v := &jwtValidator{
		clock:      o.World,
		issuer:     o.text(OAuthBearer, "sasl.oauthbearer.expected.issuer", ""),
		scopeClaim: strings.TrimSpace(o.text(OAuthBearer, "sasl.oauthbearer.scope.claim.name", "scope")),
		subClaim:   strings.TrimSpace(o.text(OAuthBearer, "sasl.oauthbearer.sub.claim.name", "sub")),
	}
	for a := range strings.SplitSeq(o.text(OAuthBearer, "sasl.oauthbearer.expected.audience", ""), ",") {
		if a = strings.TrimSpace(a); a != "" {
			v.audience = append(v.audience, a)
		}
	}
	if v.scopeClaim == "" || v.subClaim == "" || len(v.scopeClaim) > maxClaimNameSize || len(v.subClaim) > maxClaimNameSize {
		return nil, fmt.Errorf("sasl.oauthbearer.scope.claim.name and sasl.oauthbearer.sub.claim.name must be names of 1 to %d bytes", maxClaimNameSize)
	}
	if v.audience == nil && o.text(OAuthBearer, "sasl.oauthbearer.allow.unverified.audience", "false") != "true" {
		return nil, errors.New("any token of the identity provider would do, whomever it was made for: set sasl.oauthbearer.expected.audience, or allow it with sasl.oauthbearer.allow.unverified.audience=true")
	}
	if v.issuer == "" && o.text(OAuthBearer, "sasl.oauthbearer.allow.unverified.issuer", "false") != "true" {
		return nil, errors.New("nothing says who must have issued a token: set sasl.oauthbearer.expected.issuer, or allow any with sasl.oauthbearer.allow.unverified.issuer=true")
	}
	skew, err := o.number(OAuthBearer, "sasl.oauthbearer.clock.skew.seconds", 30, 0)
	v.skewMs = min(skew, maxNumericDate) * 1000
	return v, err
}

func (v *jwtValidator) validate(token string) (bearer, *tokenFault) {
	payload, err := v.verify(token)
	if err != nil {
		return bearer{}, invalidToken("Could not validate the access token: %w", err)
	}
	c, err := parseClaims(payload)
	if err != nil {
		return bearer{}, invalidToken("Could not validate the access token: claims: %w", err)
	}
	b, err := v.judge(c)
	if err != nil {
		return bearer{}, invalidToken("Could not validate the access token: %w", err)
	}
	return b, nil
}

// verify checks the form and the signature and gives the claims' bytes. Nothing of the claims is read before.
//
// The signature is checked with the standard library and not with go-jose, which reads keys and certificates out of
// strangers' headers, and copies the token several times for each key that it tries.
func (v *jwtValidator) verify(token string) ([]byte, error) {
	head, rest, _ := strings.Cut(token, ".")
	body, tail, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(tail, ".") || tail == "" {
		return nil, errors.New("malformed JWT: expected three sections (header, payload, and signature)")
	}
	h, err := parseHeader(head)
	if err != nil {
		return nil, fmt.Errorf("malformed JWT: header: %w", err)
	}
	if len(tail) > maxSignatureBytes {
		return nil, errors.New("malformed JWT: the signature is too long")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(tail)
	if err != nil {
		return nil, errors.New("malformed JWT: the signature is not base64url")
	}
	keys := v.keys.find(h.keyID, h.algorithm)
	if len(keys) == 0 {
		return nil, fmt.Errorf("unable to find a suitable verification key for key id %q and algorithm %s in %s", h.keyID, h.algorithm, v.keys.url)
	}
	digest := h.hash.New()
	digest.Write([]byte(token[:len(head)+1+len(body)]))
	sum := digest.Sum(nil)
	good := slices.ContainsFunc(keys, func(key any) bool {
		if edwards, ok := key.(ed25519.PublicKey); ok {
			return ed25519.Verify(edwards, []byte(token[:len(head)+1+len(body)]), signature)
		}
		return verifySum(key, h, sum, signature)
	})
	if !good {
		return nil, errors.New("JWT rejected due to invalid signature")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, errors.New("malformed JWT: the payload is not base64url")
	}
	return payload, nil
}

// jwtHeader is what a token's header says of its signature. What else it holds is not read: keys above all.
type jwtHeader struct {
	algorithm jose.SignatureAlgorithm
	hash      crypto.Hash
	keyID     string
}

func parseHeader(text string) (h jwtHeader, err error) {
	if len(text) > maxHeaderBytes {
		return h, fmt.Errorf("it is longer than %d bytes", maxHeaderBytes)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return h, errors.New("it is not base64url")
	}
	members, err := parseClaims(data)
	if err != nil {
		return h, err
	}
	if _, critical := members["crit"]; critical {
		return h, errors.New("it has critical extensions, of which none is known")
	}
	if json.Unmarshal(members["alg"], &h.algorithm) != nil || !slices.Contains(signatures, h.algorithm) {
		return h, fmt.Errorf("its algorithm is none of %v", signatures)
	}
	if id, ok := members["kid"]; ok && json.Unmarshal(id, &h.keyID) != nil || len(h.keyID) > maxKeyIDBytes {
		return h, errors.New("its key id is no string or too long")
	}
	switch {
	case strings.HasSuffix(string(h.algorithm), "384"):
		h.hash = crypto.SHA384
	case strings.HasSuffix(string(h.algorithm), "512"):
		h.hash = crypto.SHA512
	default:
		h.hash = crypto.SHA256
	}
	return h, nil
}

// verifySum checks a signature over a hash with a key that fits the algorithm (RFC 7518, 3.3 to 3.5).
func verifySum(key any, h jwtHeader, sum, signature []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if h.algorithm[0] == 'P' {
			return rsa.VerifyPSS(k, h.hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, h.hash, sum, signature) == nil
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		return ecdsa.Verify(k, sum, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	}
	return false
}

// fits says that a key is of the kind that an algorithm needs.
func fits(key any, algorithm jose.SignatureAlgorithm) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return (strings.HasPrefix(string(algorithm), "RS") || strings.HasPrefix(string(algorithm), "PS")) && k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits
	case *ecdsa.PublicKey:
		bits := map[jose.SignatureAlgorithm]int{jose.ES256: 256, jose.ES384: 384, jose.ES512: 521}[algorithm]
		return k.Curve.Params().BitSize == bits
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	}
	return false
}

// claims are a token's members, each still as JSON.
type claims map[string]json.RawMessage

// parseClaims reads one JSON object, a token's claims or header, in which no name stands twice.
func parseClaims(payload []byte) (claims, error) {
	if err := boundJSON(payload); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	c := claims{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("malformed JSON")
		}
		if _, twice := c[name]; twice {
			return nil, errors.New("a name stands twice")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("malformed JSON")
		}
		c[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("malformed JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	return c, nil
}

// boundJSON refuses JSON that is deep or has a great many members before a decoder allocates for them.
func boundJSON(data []byte) error {
	depth, members, quoted := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return fmt.Errorf("JSON deeper than %d", maxJSONDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			if members++; members > maxJSONMembers {
				return fmt.Errorf("JSON with more than %d members", maxJSONMembers)
			}
		}
	}
	return nil
}

// dateMs is a NumericDate (RFC 7519, 2) in milliseconds; parts of a second are dropped as in Kafka.
func (c claims) dateMs(name string) (ms int64, present bool, err error) {
	raw, ok := c[name]
	if !ok || string(raw) == "null" {
		return 0, false, nil
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil || seconds < 0 || seconds > maxNumericDate {
		return 0, false, fmt.Errorf("claim %s is no date", name)
	}
	return int64(seconds) * 1000, true, nil
}

// texts is a claim that is a string or an array of strings.
func (c claims) texts(name string) ([]string, error) {
	raw, ok := c[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil {
		return nil, fmt.Errorf("claim %s is neither a string nor an array of strings", name)
	}
	return many, nil
}

// judge decides on claims whose signature is good.
func (v *jwtValidator) judge(c claims) (bearer, error) {
	expiresMs, err := v.times(c)
	if err != nil {
		return bearer{}, err
	}
	var issuer string
	if raw, ok := c["iss"]; v.issuer != "" && (!ok || json.Unmarshal(raw, &issuer) != nil || issuer != v.issuer) {
		return bearer{}, errors.New("issuer (iss) is not the one that sasl.oauthbearer.expected.issuer names")
	}
	audience, err := c.texts("aud")
	if err != nil || v.audience != nil && !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(v.audience, a) }) {
		return bearer{}, errors.New("audience (aud) is none of those that sasl.oauthbearer.expected.audience names")
	}
	if err := c.checkScope(v.scopeClaim); err != nil {
		return bearer{}, err
	}
	var name string
	if raw, ok := c[v.subClaim]; !ok || json.Unmarshal(raw, &name) != nil || strings.TrimSpace(name) == "" {
		return bearer{}, fmt.Errorf("%s value must be a string that is not empty", v.subClaim)
	}
	return bearer{name: strings.TrimSpace(name), expiresMs: expiresMs}, nil
}

// times checks exp, iat and nbf; the first two must be there.
func (v *jwtValidator) times(c claims) (expiresMs int64, err error) {
	expires, hasExpires, err := c.dateMs("exp")
	if err != nil {
		return 0, err
	}
	issued, hasIssued, err := c.dateMs("iat")
	if err != nil {
		return 0, err
	}
	begins, hasBegins, err := c.dateMs("nbf")
	if err != nil {
		return 0, err
	}
	now := clock.Millis(v.clock.Now())
	switch {
	case !hasExpires:
		return 0, errors.New("no Expiration Time (exp) claim present")
	case !hasIssued:
		return 0, errors.New("no Issued At (iat) claim present")
	case now-v.skewMs >= expires:
		return 0, fmt.Errorf("the JWT is no longer valid: exp is %d ms, now is %d ms", expires, now)
	case hasBegins && now+v.skewMs < begins:
		return 0, fmt.Errorf("the JWT is not yet valid: nbf is %d ms, now is %d ms", begins, now)
	case expires < issued, hasBegins && expires < begins:
		return 0, errors.New("the JWT ends before it begins")
	case now+v.skewMs < issued:
		// Differs from Kafka: an OAUTHBEARER token from the future is refused; Kafka looks only whether iat is there.
		return 0, fmt.Errorf("the JWT was issued in the future: iat is %d ms, now is %d ms", issued, now)
	}
	return expires, nil
}

// checkScope looks whether the scope is well formed, as Kafka does; nothing is made of it.
func (c claims) checkScope(name string) error {
	scopes, err := c.texts(name)
	if err != nil {
		// As in Kafka a scope that is neither is none, but an array of anything else than strings is refused.
		if raw := bytes.TrimSpace(c[name]); len(raw) > 0 && raw[0] != '[' {
			return nil
		}
		return err
	}
	seen := make(map[string]bool, len(scopes))
	for _, s := range scopes {
		if s = strings.TrimSpace(s); s == "" || seen[s] {
			return fmt.Errorf("%s value must have no empty and no duplicate entries", name)
		}
		seen[s] = true
	}
	return nil
}
