package controller

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// tokenCluster is a cluster with a secret for tokens, at 1,000,000 ms.
func tokenCluster(t *testing.T) *cluster {
	c := newCluster(t)
	cfg, err := config.NewBroker(config.Values{
		"node.id": "1", "delegation.token.secret.key": "the-secret", "delegation.token.max.lifetime.ms": "1000", "delegation.token.expiry.time.ms": "400",
	})
	if err != nil {
		t.Fatal(err)
	}
	c.context.Config, c.context.NowMs = cfg, 1_000_000
	return c
}

var (
	tokenAlice = TokenPrincipal{"User", "alice"}
	tokenBob   = TokenPrincipal{"User", "bob"}
	tokenEve   = TokenPrincipal{"User", "eve"}
)

// token has somebody make a token that bob may renew.
func (c *cluster) token(by TokenPrincipal, owner string, life int64) *wire.CreateDelegationTokenResponse {
	c.t.Helper()
	kind := "User"
	m := &wire.CreateDelegationTokenRequest{OwnerPrincipalType: &kind, OwnerPrincipalName: &owner, MaxLifetimeMs: life}
	m.Renewers = []wire.CreateDelegationTokenRequestCreatableRenewers{{PrincipalType: "User", PrincipalName: "bob"}}
	return c.about(by, m).(*wire.CreateDelegationTokenResponse)
}

// about decides and applies a request about tokens.
func (c *cluster) about(by TokenPrincipal, m any) any {
	c.t.Helper()
	d, err := c.machine.Decide(&c.context, &TokenRequest{By: by, Message: m})
	if err != nil {
		c.t.Fatal(err)
	}
	c.apply(d.Records)
	return d.Reply
}

func (c *cluster) renew(by TokenPrincipal, mac []byte, period int64) string {
	r := c.about(by, &wire.RenewDelegationTokenRequest{Hmac: mac, RenewPeriodMs: period}).(*wire.RenewDelegationTokenResponse)
	return fmt.Sprintf("%s %d", r.ErrorCode.String(), r.ExpiryTimestampMs)
}

func (c *cluster) expire(by TokenPrincipal, mac []byte, period int64) string {
	r := c.about(by, &wire.ExpireDelegationTokenRequest{Hmac: mac, ExpiryTimePeriodMs: period}).(*wire.ExpireDelegationTokenResponse)
	return fmt.Sprintf("%s %d", r.ErrorCode.String(), r.ExpiryTimestampMs)
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestTokenLife(t *testing.T) {
	c := tokenCluster(t)
	r := c.token(tokenAlice, "", 0)
	same(t, "created", fmt.Sprint(r.ErrorCode.String(), r.PrincipalType, r.PrincipalName, r.IssueTimestampMs, r.ExpiryTimestampMs, r.MaxTimestampMs),
		"NONEUseralice1000000 1000400 1001000")
	if !bytes.Equal(r.Hmac, TokenHMAC("the-secret", r.TokenID)) {
		t.Error("the HMAC is not the token's")
	}
	c.context.NowMs += 300
	same(t, "a stranger renews", c.renew(tokenEve, r.Hmac, 0), "DELEGATION_TOKEN_OWNER_MISMATCH 0")
	same(t, "renewer", c.renew(tokenBob, r.Hmac, -1), "NONE 1000700")
	same(t, "owner, a short period", c.renew(tokenAlice, r.Hmac, 50), "NONE 1000350")
	same(t, "a long period", c.renew(tokenAlice, r.Hmac, 1_000_000), "NONE 1000700")
	same(t, "no such token", c.renew(tokenAlice, append([]byte{1}, r.Hmac...), 0), "DELEGATION_TOKEN_NOT_FOUND 0")
	c.context.NowMs += 400
	same(t, "at its end", c.renew(tokenAlice, r.Hmac, 0), "NONE 1001000")
	c.context.NowMs += 301
	same(t, "after its end", c.renew(tokenAlice, r.Hmac, 0), "DELEGATION_TOKEN_EXPIRED 0")
	same(t, "expired anew", c.expire(tokenAlice, r.Hmac, 100), "DELEGATION_TOKEN_EXPIRED 0")
	if c.machine.Image().Token(r.TokenID) == nil {
		t.Error("a token that has run out is gone before it was removed")
	}
	d, err := c.machine.Decide(&c.context, &ExpireTokens{})
	if err != nil || d.Reply != 1 {
		t.Fatal(d, err)
	}
	c.apply(d.Records)
	if c.machine.Image().Token(r.TokenID) != nil {
		t.Error("the token is still there")
	}
}

func TestTokenExpire(t *testing.T) {
	c := tokenCluster(t)
	r := c.token(tokenAlice, "carol", 500)
	same(t, "for another", fmt.Sprint(r.ErrorCode.String(), r.PrincipalName, r.TokenRequesterPrincipalName, r.MaxTimestampMs), "NONEcarolalice1000500")
	same(t, "who asked for it is not the owner", c.expire(tokenAlice, r.Hmac, -1), "DELEGATION_TOKEN_OWNER_MISMATCH 0")
	same(t, "in a while", c.expire(tokenBob, r.Hmac, 450), "NONE 1000450")
	same(t, "beyond its life", c.expire(tokenBob, r.Hmac, 1<<62), "NONE 1000500")
	same(t, "at once", c.expire(TokenPrincipal{"User", "carol"}, r.Hmac, -1), "NONE 1000000")
	same(t, "twice", c.expire(tokenBob, r.Hmac, -1), "DELEGATION_TOKEN_NOT_FOUND 0")
}

func TestTokensRefused(t *testing.T) {
	c := tokenCluster(t)
	m := &wire.CreateDelegationTokenRequest{Renewers: []wire.CreateDelegationTokenRequestCreatableRenewers{{PrincipalType: "Group", PrincipalName: "g"}}}
	same(t, "a group renews", c.about(tokenAlice, m).(*wire.CreateDelegationTokenResponse).ErrorCode.String(), "INVALID_PRINCIPAL_TYPE")
	m.Renewers = make([]wire.CreateDelegationTokenRequestCreatableRenewers, MaxTokenRenewers+1)
	for i := range m.Renewers {
		m.Renewers[i] = wire.CreateDelegationTokenRequestCreatableRenewers{PrincipalType: "User", PrincipalName: "x"}
	}
	same(t, "too many renewers", c.about(tokenAlice, m).(*wire.CreateDelegationTokenResponse).ErrorCode.String(), "INVALID_REQUEST")
	c.apply([]wire.MetadataRecord{&wire.FeatureLevelRecord{Name: metadata.FeatureMetadataVersion, FeatureLevel: metadata.TokensVersion - 1}})
	same(t, "an old cluster", c.token(tokenAlice, "", 0).ErrorCode.String(), "UNSUPPORTED_VERSION")
	same(t, "an old cluster", c.renew(tokenAlice, nil, 0), "UNSUPPORTED_VERSION 0")
	c.context.Config = brokerConfig(t)
	same(t, "no secret", c.token(tokenAlice, "", 0).ErrorCode.String(), "DELEGATION_TOKEN_AUTH_DISABLED")
	same(t, "no secret", c.expire(tokenAlice, nil, 0), "DELEGATION_TOKEN_AUTH_DISABLED 0")
	same(t, "no secret", c.renew(tokenAlice, nil, 0), "DELEGATION_TOKEN_AUTH_DISABLED 0")
	if _, err := c.machine.Decide(&c.context, &TokenRequest{Message: 1}); err == nil {
		t.Error("anything is taken for a request about tokens")
	}
}
