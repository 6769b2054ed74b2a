package auth

import (
	"encoding/base64"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"

	"github.com/moldau/moldau/internal/clock"
)

// allocated is how many bytes f allocates, in all: the least of some runs, since others in the process allocate too.
func allocated(f func()) int {
	var before, after runtime.MemStats
	least := math.MaxInt
	for range 5 {
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, int(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}

// fill repeats a piece up to a length.
func fillTo(length int, before, piece, after string) string {
	return before + strings.Repeat(piece, (length-len(before)-len(after))/len(piece)) + after
}

func fill(before, piece, after string) string { return fillTo(MaxTokenBytes, before, piece, after) }

// jwtOf is a first message with a token that has this header and these claims, and no signature that counts.
func jwtOf(header, payload string) string {
	e := base64.RawURLEncoding.EncodeToString
	return "n,,\x01auth=Bearer " + e([]byte(header)) + "." + e([]byte(payload)) + ".AAAA\x01\x01"
}

// TestStrangersCannotMakeUsAllocate: what a token costs is in proportion to its length, and a token that is too long costs nothing.
func TestStrangersCannotMakeUsAllocate(t *testing.T) {
	j := newJudge(t)
	r := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96)
	kerberos := newServer(t, r.options(nil))
	half := MaxTokenBytes / 2
	tokens := []struct {
		server    *Server
		mechanism string
		token     string
	}{
		{j.plain, Plain, fillTo(maxPasswordBytes, "\x00", "a", "\x00b")}, {j.plain, Plain, fillTo(maxPasswordBytes, "", "\x00", "")},
		{j.plain, ScramSHA256, fillTo(maxScramBytes, "n,,n=", "=2C", ",r=x")}, {j.plain, ScramSHA256, fillTo(maxScramBytes, "n,,n=alice,r=", "x", "")}, {j.plain, ScramSHA256, fillTo(maxScramBytes, "n,,n=alice,r=x", ",x=y", "")}, {j.plain, ScramSHA256, fillTo(maxScramBytes, "", ",", "")},
		{j.unsecured, OAuthBearer, fill("n,,\x01", "x=y\x01", "auth=Bearer abc\x01\x01")}, {j.unsecured, OAuthBearer, fill("n,,\x01auth=Bearer ", "a", "\x01\x01")}, {j.unsecured, OAuthBearer, fill("n,,\x01auth=Bearer ", ".", "\x01\x01")},
		{j.unsecured, OAuthBearer, jwtOf(`{"alg":"none"}`, strings.Repeat("[", half))}, {j.unsecured, OAuthBearer, jwtOf(`{"alg":"none"}`, `{"sub":[`+strings.Repeat("1,", half/3))}, {j.unsecured, OAuthBearer, jwtOf(strings.Repeat(`{"a":`, half/8), `{}`)},
		{j.signed, OAuthBearer, jwtOf(`{"alg":"RS256","kid":"`+strings.Repeat("k", half)+`"}`, `{}`)}, {j.signed, OAuthBearer, jwtOf(`{"alg":"RS256","x5c":[`+strings.Repeat(`"",`, 2000)+`""]}`, `{}`)}, {j.signed, OAuthBearer, jwtOf(`{"alg":"RS256"`+strings.Repeat(`,"a":{}`, 1000)+`}`, `{}`)}, {j.signed, OAuthBearer, jwtOf(`{"alg":"RS256"}`, strings.Repeat("[", half))},
		{kerberos, GSSAPI, string(contextToken(apReqKind, []byte("\x6e\x84\x7f\xff\xff\xff")))}, {kerberos, GSSAPI, string(contextToken(apReqKind, []byte(fill("", "\x30\x80", "")[:half])))}, {kerberos, GSSAPI, fill("\x60\x84\x7f\xff\xff\xff", "\x60", "")},
	}
	for _, c := range tokens {
		token := []byte(c.token)
		cost := allocated(func() { verdict(begin(t, c.server, c.mechanism), token) })
		if limit := 4*len(token) + 64<<10; cost > limit {
			t.Errorf("%s: a token of %d bytes costs %d, more than %d: %.60q", c.mechanism, len(token), cost, limit, token)
		}
	}
	long := []byte(strings.Repeat("x", 512<<10))
	for _, s := range []*Server{j.plain, j.signed, kerberos} {
		for _, m := range s.Mechanisms() {
			if cost := allocated(func() { _, _, _ = begin(t, s, m).Step(long) }); cost > 4<<10 {
				t.Errorf("%s: a token that is too long costs %d bytes", m, cost)
			}
		}
	}
}

// TestExchangesUnderWayAreSmall: ten thousand strangers who stop after their longest first message keep little.
func TestExchangesUnderWayAreSmall(t *testing.T) {
	s := newServer(t, testOptions(clock.NewHand(1), nil, ScramSHA256))
	first := []byte("n,,n=alice,r=" + strings.Repeat("x", maxScramBytes-len("n,,n=alice,r=")))
	exchanges := make([]Exchange, 1000)
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	least := math.MaxInt
	for range 3 {
		before := heap()
		for i := range exchanges {
			exchanges[i] = begin(t, s, ScramSHA256)
			if v, _ := verdict(exchanges[i], first); v != "more" {
				t.Fatal(v)
			}
		}
		least = min(least, heap()-before)
		clear(exchanges)
	}
	if each := least / len(exchanges); each > 4*maxScramBytes {
		t.Errorf("an exchange keeps %d bytes", each)
	}
	runtime.KeepAlive(exchanges)
}

// TestPlainComparesInTheSameSteps: whether there is a user is not seen in what is allocated, and nothing is compared byte by byte.
func TestPlainComparesInTheSameSteps(t *testing.T) {
	s := newServer(t, testOptions(clock.NewHand(1), nil, Plain))
	count := func(token string) float64 {
		b := []byte(token)
		return testing.AllocsPerRun(100, func() { _, _, _ = begin(t, s, Plain).Step(b) })
	}
	known, unknown := count("\x00alice\x00wrong-secret"), count("\x00mallo\x00wrong-secret")
	if known != unknown {
		t.Errorf("%v allocations for a user that there is, %v for one that there is not", known, unknown)
	}
}

// TestUnknownUsersLookKnown: the first answer to an unknown name is of the same shape as to a known one and always the same.
func TestUnknownUsersLookKnown(t *testing.T) {
	for _, m := range []string{ScramSHA256, ScramSHA512} {
		s := newServer(t, testOptions(clock.NewHand(1), nil, m))
		salt := func(name string) string {
			_, answer := verdict(begin(t, s, m), []byte("n,,n="+name+",r=nonce"))
			_, rest, _ := strings.Cut(string(answer), ",")
			return rest
		}
		if salt("mallory") != salt("mallory") || salt("mallory") == salt("trudy") {
			t.Errorf("%s: %s %s %s", m, salt("mallory"), salt("mallory"), salt("trudy"))
		}
		if !strings.HasSuffix(salt("mallory"), ",i=4096") || len(salt("mallory")) < 40 {
			t.Error(salt("mallory"))
		}
	}
}

// TestUnknownUsersStayTheSame: with the cluster's secret all nodes show the same salt, before and after a restart.
func TestUnknownUsersStayTheSame(t *testing.T) {
	salt := func(seed uint64, set settings) string {
		s := newServer(t, testOptions(clock.NewHand(seed), set, ScramSHA256))
		_, answer := verdict(begin(t, s, ScramSHA256), []byte("n,,n=mallory,r=nonce"))
		_, rest, _ := strings.Cut(string(answer), ",")
		return rest
	}
	shared := settings{"delegation.token.secret.key": "secret"}
	if salt(1, shared) != salt(2, shared) || salt(1, settings{}) == salt(2, settings{}) {
		t.Error(salt(1, shared), salt(2, shared), salt(1, settings{}), salt(2, settings{}))
	}
}

// TestReplayedProof: what was good in one exchange is not in another.
func TestReplayedProof(t *testing.T) {
	s := newServer(t, testOptions(clock.NewHand(1), nil, ScramSHA256))
	x, y := begin(t, s, ScramSHA256), begin(t, s, ScramSHA256)
	_, a := verdict(x, []byte("n,,n=alice,r=nonce"))
	_, b := verdict(y, []byte("n,,n=alice,r=nonce"))
	if string(a) == string(b) {
		t.Error("two exchanges have the same nonce")
	}
	final := scramFinal(ScramSHA256, "n,,n=alice,r=nonce", string(a), "alice-secret")
	if v, _ := verdict(y, []byte(final)); !strings.Contains(v, "Invalid client nonce") {
		t.Errorf("replayed: %s", v)
	}
	if v, _ := verdict(x, []byte(final)); v != "User:alice" {
		t.Error(v)
	}
}
