package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
)

// scramClient speaks RFC 5802's other side; final may change its last message.
func scramFinal(mechanism, clientFirst, serverFirst, password string) string {
	fields := map[string]string{}
	for f := range strings.SplitSeq(serverFirst, ",") {
		k, v, _ := strings.Cut(f, "=")
		fields[k] = v
	}
	gs2 := clientFirst[:strings.Index(clientFirst[2:], ",")+3]
	h := hashOf(mechanism)
	salt, _ := base64.StdEncoding.DecodeString(fields["s"])
	iterations, _ := strconv.Atoi(fields["i"])
	salted, err := pbkdf2.Key(h, password, salt, iterations, h().Size())
	if err != nil {
		panic(err)
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(h, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	key := mac(salted, "Client Key")
	stored := h()
	stored.Write(key)
	bare := "c=" + base64.StdEncoding.EncodeToString([]byte(gs2)) + ",r=" + fields["r"]
	signature := mac(stored.Sum(nil), clientFirst[len(gs2):]+","+serverFirst+","+bare)
	for i := range key {
		key[i] ^= signature[i]
	}
	return bare + ",p=" + base64.StdEncoding.EncodeToString(key)
}

func TestScram(t *testing.T) {
	s := newServer(t, testOptions(clock.NewHand(1), nil, ScramSHA256, ScramSHA512))
	for _, m := range s.Mechanisms() {
		for _, c := range []struct{ first, password, want string }{
			{"n,,n=alice,r=nonce", "alice-secret", "User:alice"},
			{"n,a=alice,n=alice,r=nonce", "alice-secret", "User:alice"},
			{"n,,n=a=2Cb=3Dc,r=nonce", "odd-secret", "User:a,b=c"},
			{"n,,n=alice,r=nonce,some=thing,more=x=y", "alice-secret", "User:alice"},
			{"n,,n=token1,r=nonce,tokenauth=true", "token-hmac", "User:owner"},
			{"n,,n=alice,r=nonce", "wrong", hidden + m + " | Invalid client credentials"},
			{"n,,n=mallory,r=nonce", "alice-secret", hidden + m + " | Authentication failed: Invalid user credentials"},
			{"n,,n=weak,r=nonce", "weak-secret", hidden + m + " | Iterations 4095 is less than the minimum 4096 for " + m},
			{"n,,n=alice,r=nonce,tokenauth=true", "alice-secret", hidden + m + " | Token Authentication failed: Invalid tokenId"},
			{"n,,n=token1,r=nonce,tokenauth=false", "token-hmac", hidden + m + " | Authentication failed: Invalid user credentials"},
			{"n,,n=stale,r=nonce,tokenauth=true", "token-hmac", hidden + m + " | Token Authentication failed: the delegation token has expired"},
		} {
			x := begin(t, s, m)
			got, serverFirst := verdict(x, []byte(c.first))
			if got != "more" || !strings.HasPrefix(string(serverFirst), "r=nonce") {
				t.Errorf("%s %s: %s %s", m, c.first, got, serverFirst)
				continue
			}
			got, _ = verdict(x, []byte(scramFinal(m, c.first, string(serverFirst), c.password)))
			if got != c.want {
				t.Errorf("%s %s: %s, want %s", m, c.first, got, c.want)
			}
			if id := x.Identity(); id.TokenID != "" && (!id.Principal.Token || id.ExpiresMs != 1_600_000_000_000 || id.TokenID != "token1") {
				t.Errorf("%+v", id)
			}
		}
	}
}
