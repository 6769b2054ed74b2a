package auth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
)

// differences are the cases in which we mean to decide otherwise than Kafka, with what we say.
var differences = map[string]string{
	// Nobody is told at the first message whether there is such a user, or a usable credential.
	"scram first22": "more", "scram first30": "more", "scram first33": "more", "scram first34": "more", "scram first35": "more", "scram unknown": "more",
	"scram first36": "hidden", // a mandatory extension
	"bearer 2":      "ok a,b abc",
	// A replacement with a group that there is not: a configuration's error, not one of each login.
	"kerberos 33/4": "error", "kerberos 33/5": "error", "kerberos 33/8": "error", "kerberos 33/11": "error",
	"jwt shared-secret":   `refused {"status":"invalid_token"}`, // no HMAC
	"jwt alg-of-key":      `refused {"status":"invalid_token"}`, // the key says which algorithm it is for
	"jwt padded":          `refused {"status":"invalid_token"}`, // base64url without padding, RFC 7515
	"jwt standard-base64": `refused {"status":"invalid_token"}`,
}

// TestAsKafka compares with testdata/verdicts.txt, which testdata/Verdicts.java wrote.
func TestAsKafka(t *testing.T) {
	text, err := os.ReadFile("testdata/verdicts.txt")
	if err != nil {
		t.Fatal(err)
	}
	j := newJudge(t)
	seen := map[string]bool{}
	n := 0
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		verdict, c, _ := strings.Cut(line, " : ")
		f := strings.Fields(c)
		name := f[0] + " " + f[1]
		want := readable(f[0], verdict)
		if w, ok := differences[name]; ok {
			if w == want {
				t.Errorf("%s: no difference any more", name)
			}
			want, seen[name] = w, true
		}
		got := j.verdict(t, f)
		// Kafka adds to some texts what the client sent, or words them otherwise: the client sees neither.
		if strings.HasPrefix(want, "hidden") && strings.HasPrefix(got, "hidden") || strings.HasPrefix(want, "error") && strings.HasPrefix(got, "error") {
			got = want
		}
		// Where Kafka trips over what a client sent, we refuse.
		if strings.HasPrefix(want, "error") && f[0] != "jaas" && f[0] != "kerberos" && (strings.HasPrefix(got, "hidden") || strings.HasPrefix(got, "refused")) {
			got = want
		}
		if got != want {
			var args []string
			for _, a := range f[2:] {
				args = append(args, fmt.Sprintf("%q", unhex(a)))
			}
			t.Errorf("%s %v:\n  we:    %q\n  Kafka: %q", name, args, got, want)
		}
		n++
	}
	for _, name := range slices.Sorted(maps.Keys(differences)) {
		if !seen[name] {
			t.Errorf("%s: no such case", name)
		}
	}
	if n < 1500 {
		t.Errorf("only %d cases", n)
	}
}

func unhex(s string) string {
	if out, err := hex.DecodeString(s); err == nil {
		return string(out)
	}
	return strings.TrimSuffix(s, "-")
}

// readable is a verdict with its texts decoded.
func readable(kind, verdict string) string {
	f := strings.Fields(verdict)
	for i := 1; i < len(f); i++ {
		if f[0] == "ok" && i == 2 && kind != "bearer" {
			continue
		}
		f[i] = unhex(f[i])
	}
	return strings.Join(f, " ")
}

// judge is our side of Verdicts.java.
type judge struct {
	plain, signed, unsecured *Server
}

func newJudge(t testing.TB) *judge {
	world := clock.NewHand(1)
	return &judge{
		plain: newServer(t, testOptions(world, nil, Plain, ScramSHA256, ScramSHA512)),
		signed: newServer(t, testOptions(world, settings{
			"OAUTHBEARER sasl.jaas.config": oauthModule + " required;", "sasl.oauthbearer.jwks.endpoint.url": "file:testdata/jwks.json",
			"sasl.oauthbearer.expected.issuer": "https://issuer.example", "sasl.oauthbearer.expected.audience": "kafka,moldau",
		}, OAuthBearer)),
		unsecured: newServer(t, testOptions(world, settings{
			"OAUTHBEARER sasl.jaas.config": oauthModule + ` required unsecuredLoginStringClaim_sub="x" unsecuredValidatorRequiredScope="read write";`,
			unsecuredAllow:                 "true",
		}, OAuthBearer)),
	}
}

func (j *judge) verdict(t *testing.T, f []string) string {
	switch f[0] {
	case "jaas":
		l, err := ParseJAAS(unhex(f[2]))
		if err != nil {
			return "error " + err.Error()
		}
		out := l.Module + "\n" + l.Flag + "\n"
		for _, k := range slices.Sorted(maps.Keys(l.Options)) {
			out += k + "\n" + l.Options[k] + "\n"
		}
		return "ok " + out
	case "plain":
		return j.step(begin(t, j.plain, Plain), unhex(f[2]))
	case "scram":
		return j.scram(t, f)
	case "bearer":
		b, err := parseBearerResponse(unhex(f[2]))
		if err != nil {
			return "hidden " + err.Error()
		}
		return "ok " + b.authorization + " " + b.token
	case "jwt":
		return j.bearer(begin(t, j.signed, OAuthBearer), unhex(f[2]))
	case "unsecured":
		return j.bearer(begin(t, j.unsecured, OAuthBearer), unhex(f[2]))
	case "kerberos":
		return kerberosVerdict(f)
	}
	return "unknown kind"
}

func kerberosVerdict(f []string) string {
	var rules []string
	for r := range strings.SplitSeq(f[3], ",") {
		rules = append(rules, unhex(r))
	}
	k, err := parseKerberosRules(unhex(f[2]), strings.Join(rules, ","))
	if err != nil {
		return "error " + err.Error()
	}
	name, err := parseKerberosName(unhex(f[4]))
	if err != nil {
		return "error " + err.Error()
	}
	short, err := k.short(name)
	if err != nil {
		return "error " + err.Error()
	}
	return "ok " + short
}

func (*judge) step(x Exchange, token string) string {
	_, done, err := x.Step([]byte(token))
	var r *Refusal
	switch {
	case errors.As(err, &r) && r.mechanism != "":
		return "hidden " + r.Cause.Error()
	case errors.As(err, &r):
		return "refused " + r.Message
	case err != nil:
		return "error " + err.Error()
	case done:
		return "ok " + x.Identity().Principal.Name
	}
	return "more"
}

func (j *judge) bearer(x Exchange, token string) string {
	v := j.step(x, token)
	switch {
	case v == "more":
		return j.step(x, "\x01")
	case strings.HasPrefix(v, "ok"):
		return fmt.Sprint(v, " ", x.Identity().ExpiresMs)
	}
	return v
}

// scram runs an exchange whose last message is changed as f says.
func (j *judge) scram(t *testing.T, f []string) string {
	mechanism, change, first, password := f[2], f[3], unhex(f[4]), unhex(f[5])
	x := begin(t, j.plain, mechanism)
	answer, _, err := x.Step([]byte(first))
	if err != nil {
		var r *Refusal
		if errors.As(err, &r) && r.mechanism == "" {
			return "refused " + r.Message
		}
		return "hidden"
	}
	if change == "none" {
		return "more"
	}
	last := scramFinal(mechanism, first, string(answer), password)
	swap := func(pattern, by string) { last = regexp.MustCompile(pattern).ReplaceAllString(last, by) }
	switch change {
	case "nonce":
		swap(",p=", "x,p=")
	case "clientnonce":
		swap(",r=[^,]*", ",r=nonce")
	case "proof":
		swap(",p=....", ",p=AAAA")
	case "shortproof":
		swap(",p=.*", ",p=AAAA")
	case "noproof":
		swap(",p=.*", "")
	case "base64":
		swap(",p=.*", ",p=A*AA")
	case "again":
		last = first
	case "empty":
		last = ""
	case "channel":
		swap("c=", "c=*")
	}
	return j.step(x, last)
}
