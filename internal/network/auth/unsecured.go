package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/clock"
)

// unsecured takes tokens without a signature, as Kafka's OAuthBearerUnsecuredValidatorCallbackHandler does, for trying out.
type unsecured struct {
	clock    clock.Clock
	subClaim string
	scope    string
	required []string
	skewMs   int64
}

// unsecuredAllow is our setting without which no unsigned token passes, whatever the login says.
const unsecuredAllow = "moldau.sasl.oauthbearer.unsecured.allow"

func newUnsecured(o *Options) (*unsecured, error) {
	const noSource = "there is no key to check tokens with: set sasl.oauthbearer.jwks.endpoint.url to the identity provider's key set"
	if o.text(OAuthBearer, unsecuredAllow, "false") != "true" {
		return nil, errors.New(noSource)
	}
	login, err := o.login(OAuthBearer, oauthModule, "unsecuredLoginStringClaim_sub=\"…\"")
	if err != nil {
		return nil, err
	}
	claim := func(name string) bool { return strings.HasPrefix(name, "unsecuredLoginStringClaim_") }
	if !slices.ContainsFunc(keysOf(login.Options), claim) {
		return nil, errors.New(noSource + "; " + unsecuredAllow + " alone does not allow unsigned tokens: the login must have unsecuredLoginStringClaim_sub too")
	}
	option := func(name, preset string) string {
		if v := strings.TrimSpace(login.Options["unsecuredValidator"+name]); v != "" {
			return v
		}
		return preset
	}
	u := &unsecured{clock: o.World, subClaim: option("PrincipalClaimName", "sub"), scope: option("ScopeClaimName", "scope"), required: strings.Fields(option("RequiredScope", ""))}
	skew, err := strconv.ParseInt(option("AllowableClockSkewMs", "0"), 10, 32)
	if err != nil || skew < 0 {
		return nil, errors.New("the login's unsecuredValidatorAllowableClockSkewMs must be a number that is not negative")
	}
	u.skewMs = skew
	o.Logger.Warn("unsigned OAUTHBEARER tokens are allowed: anybody can be anybody", "listener", o.Listener, "setting", unsecuredAllow)
	return u, nil
}

func keysOf(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

func (u *unsecured) validate(token string) (bearer, *tokenFault) {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 || parts[2] != "" {
		return bearer{}, invalidToken("an unsecured token is HEADER.CLAIMS. with nothing for a signature")
	}
	var sections [2]claims
	for i := range sections {
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil {
			return bearer{}, invalidToken("malformed token: a section is not base64url")
		}
		if sections[i], err = parseClaims(data); err != nil {
			return bearer{}, invalidToken("malformed token: %w", err)
		}
	}
	var algorithm, name string
	if json.Unmarshal(sections[0]["alg"], &algorithm) != nil || algorithm != "none" {
		return bearer{}, invalidToken("the algorithm of an unsecured token must be none")
	}
	c := sections[1]
	if json.Unmarshal(c[u.subClaim], &name) != nil || strings.TrimSpace(name) == "" {
		return bearer{}, invalidToken("claim %s is missing or no string", u.subClaim)
	}
	expires, fault := u.times(c)
	if fault != nil {
		return bearer{}, fault
	}
	if fault := u.checkScope(c); fault != nil {
		return bearer{}, fault
	}
	return bearer{name: name, expiresMs: expires}, nil
}

func (u *unsecured) times(c claims) (int64, *tokenFault) {
	expires, ok, err := c.dateMs("exp")
	if err != nil || !ok {
		return 0, invalidToken("claim exp is missing or no date")
	}
	issued, _, err := c.dateMs("iat")
	now := clock.Millis(u.clock.Now())
	switch {
	case err != nil:
		return 0, invalidToken("claim iat is no date")
	case now-u.skewMs >= expires:
		return 0, invalidToken("the token has expired")
	case issued > now+u.skewMs:
		return 0, invalidToken("the token was issued in the future")
	case expires <= issued:
		return 0, invalidToken("the token ends before it begins")
	}
	return expires, nil
}

// checkScope looks for what the login requires. As in Kafka a string is one scope, blanks and all.
func (u *unsecured) checkScope(c claims) *tokenFault {
	given, err := c.texts(u.scope)
	if err != nil {
		return invalidToken("%w", err)
	}
	for _, scope := range u.required {
		if !slices.Contains(given, scope) {
			f := invalidToken("the token's scope lacks %s", scope)
			f.status, f.scope = "insufficient_scope", "["+strings.Join(u.required, ", ")+"]"
			return f
		}
	}
	return nil
}
