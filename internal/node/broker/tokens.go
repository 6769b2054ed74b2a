package broker

import (
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/edge"
)

// noTime is the time in a refusal that was made before the controller was asked, as in Kafka.
const noTime = -1

// mayUseTokens says whether a connection may ask for tokens: not if it was authenticated with one itself, or not at all.
func mayUseTokens(b *Broker, q *edge.Request) bool {
	who := q.Conn().Identity().Principal()
	switch b.protocols[q.Conn().Listener()] {
	case config.Plaintext:
		return false
	case config.SSL:
		return !who.Token && who != auth.Anonymous
	}
	return !who.Token
}

// asker is who makes a request about tokens.
func asker(q *edge.Request) controller.TokenPrincipal {
	p := q.Conn().Identity().Principal()
	return controller.TokenPrincipal{Type: p.Type, Name: p.Name}
}

// serveCreateDelegationToken makes a token (KIP-48), for another owner where a rule allows that (KIP-373).
func serveCreateDelegationToken(b *Broker, q *edge.Request, m *wire.CreateDelegationTokenRequest, answer func(*wire.CreateDelegationTokenResponse)) {
	by := asker(q)
	owner := by
	if m.OwnerPrincipalName != nil && *m.OwnerPrincipalName != "" {
		owner = controller.TokenPrincipal{Name: *m.OwnerPrincipalName}
		if m.OwnerPrincipalType != nil {
			owner.Type = *m.OwnerPrincipalType
		}
	}
	code := wire.None
	switch {
	case !mayUseTokens(b, q):
		code = wire.DelegationTokenRequestNotAllowed
	case owner != by && !b.allowed(q, acl.CreateTokens, acl.User, owner.String()):
		code = wire.DelegationTokenAuthorizationFailed
	case slices.ContainsFunc(m.Renewers, func(r wire.CreateDelegationTokenRequestCreatableRenewers) bool {
		return r.PrincipalType != auth.UserType
	}):
		code = wire.InvalidPrincipalType
	}
	if code != wire.None {
		answer(&wire.CreateDelegationTokenResponse{
			ErrorCode: code, PrincipalType: owner.Type, PrincipalName: owner.Name,
			TokenRequesterPrincipalType: by.Type, TokenRequesterPrincipalName: by.Name,
			IssueTimestampMs: noTime, ExpiryTimestampMs: noTime, MaxTimestampMs: noTime,
		})
		return
	}
	propose(b, q, &controller.TokenRequest{By: by, Message: m}, answer)
}

// serveRenewDelegationToken lets a token live on.
func serveRenewDelegationToken(b *Broker, q *edge.Request, m *wire.RenewDelegationTokenRequest, answer func(*wire.RenewDelegationTokenResponse)) {
	if !mayUseTokens(b, q) {
		answer(&wire.RenewDelegationTokenResponse{ErrorCode: wire.DelegationTokenRequestNotAllowed, ExpiryTimestampMs: noTime})
		return
	}
	propose(b, q, &controller.TokenRequest{By: asker(q), Message: m}, answer)
}

// serveExpireDelegationToken has a token end earlier, or at once.
func serveExpireDelegationToken(b *Broker, q *edge.Request, m *wire.ExpireDelegationTokenRequest, answer func(*wire.ExpireDelegationTokenResponse)) {
	if !mayUseTokens(b, q) {
		answer(&wire.ExpireDelegationTokenResponse{ErrorCode: wire.DelegationTokenRequestNotAllowed, ExpiryTimestampMs: noTime})
		return
	}
	propose(b, q, &controller.TokenRequest{By: asker(q), Message: m}, answer)
}

// serveDescribeDelegationToken tells of the tokens that the asker owns or may renew, and of those that a rule lets it see.
// What it tells includes the HMAC, with which the token can be used: so it is in Kafka.
func serveDescribeDelegationToken(b *Broker, q *edge.Request, m *wire.DescribeDelegationTokenRequest) *wire.DescribeDelegationTokenResponse {
	out := &wire.DescribeDelegationTokenResponse{Tokens: []wire.DescribeDelegationTokenResponseDescribedDelegationToken{}}
	secret := b.config().GetString("delegation.token.secret.key")
	switch {
	case !mayUseTokens(b, q):
		out.ErrorCode = wire.DelegationTokenRequestNotAllowed
		return out
	case secret == "":
		out.ErrorCode = wire.DelegationTokenAuthDisabled
		return out
	}
	var owners map[string]bool // nil: all
	if m.Owners != nil {
		owners = make(map[string]bool, len(m.Owners))
		for i := range m.Owners {
			owners[m.Owners[i].PrincipalType+":"+m.Owners[i].PrincipalName] = true
		}
	}
	me := asker(q).String()
	for _, t := range b.image().Tokens() {
		mine := t.Owner == me || slices.Contains(t.Renewers, me)
		if owners != nil && !owners[t.Owner] ||
			!mine && !b.visible(q, acl.Describe, acl.DelegationToken, t.TokenID) && !b.visible(q, acl.DescribeTokens, acl.User, t.Owner) {
			continue
		}
		out.Tokens = append(out.Tokens, describedToken(t, secret))
	}
	return out
}

func describedToken(t *wire.DelegationTokenRecord, secret string) wire.DescribeDelegationTokenResponseDescribedDelegationToken {
	d := wire.DescribeDelegationTokenResponseDescribedDelegationToken{
		IssueTimestamp: t.IssueTimestamp, ExpiryTimestamp: t.ExpirationTimestamp, MaxTimestamp: t.MaxTimestamp,
		TokenID: t.TokenID, Hmac: controller.TokenHMAC(secret, t.TokenID),
	}
	d.PrincipalType, d.PrincipalName, _ = strings.Cut(t.Owner, ":")
	d.TokenRequesterPrincipalType, d.TokenRequesterPrincipalName, _ = strings.Cut(t.Requester, ":")
	for _, r := range t.Renewers {
		renewer := wire.DescribeDelegationTokenResponseDescribedDelegationTokenRenewer{}
		renewer.PrincipalType, renewer.PrincipalName, _ = strings.Cut(r, ":")
		d.Renewers = append(d.Renewers, renewer)
	}
	return d
}
