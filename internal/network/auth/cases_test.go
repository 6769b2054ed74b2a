package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/moldau/moldau/internal/clock"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/verdicts.txt and testdata/jwks.json anew, without verdicts; testdata/Verdicts.java puts them in")

// book gathers the cases of verdicts.txt.
type book struct {
	lines []string
	rand  *clock.Hand
}

func hexOf(s string) string {
	if s == "" {
		return "-"
	}
	return hex.EncodeToString([]byte(s))
}

func (b *book) add(kind, name string, args ...string) {
	b.lines = append(b.lines, strings.TrimSpace("? : "+kind+" "+name+" "+strings.Join(args, " ")))
}

// pick is a random sequence of 1 to n pieces.
func (b *book) pick(n int, pieces ...string) string {
	var out strings.Builder
	for range 1 + b.rand.Uint64()%uint64(n) {
		out.WriteString(pieces[b.rand.Uint64()%uint64(len(pieces))])
	}
	return out.String()
}

func TestWriteCases(t *testing.T) {
	if !*rewrite {
		t.Skip("only with -rewrite")
	}
	b := &book{rand: clock.NewHand(1)}
	b.jaas()
	b.plain()
	b.scram()
	b.bearer()
	b.kerberos()
	b.unsecured()
	set := b.jwt(t)
	write := func(name, text string) {
		if err := os.WriteFile("testdata/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("verdicts.txt", strings.Join(b.lines, "\n")+"\n")
	write("jwks.json", set)
}

func (b *book) jaas() {
	for i, text := range []string{
		plainLogin, "", " ", ";", "m", "m required", "m required;", "m REQUIRED ;", "m sufficient a=b;", "m optional a=b c=d;", "m requisite a=\"b c\";", "m maybe;",
		"m required a;", "m required a=;", "m required a=b", "m required =b;", "m required a b=c;", "m required a=b c;", "m required a==b;", "m required a=b;;", "m required; n required;",
		"\"m\" 'required' 'a'=\"b\";", "m required a=\"b;c=d\";", "m required a='b\"c';", "m required a=\"b'c\";", "m required a=\"b\\\"c\";", "m required a=\"\\\\\";", "m required a=\"\\n\\t\\a\\b\\f\\r\\v\\x\";",
		"m required a=\"\\101\\60\\7x\\400\\1234\";", "m required a=\"unterminated;", "m required a=\"line\nend\";", "m required a=\"line\nend;", "m required a=\"back\\", "m required a=\"back\\\nslash\";",
		"m required /* comment */ a=b;", "m required // comment\n a=b;", "m required / comment\n a=b;", "m required a=b/c;", "m required a=\"b/c\";", "m required a=http://x;", "/* m */ m required;", "m required; /* open", "m required /* open", "m required a=b; / x",
		"m required a={b};", "m required a=b,c;", "m required a=ünicode€;", "m required a=\"ünicode€😀\";", "m required ü=b;", "m required a=\u0085b;", "m required a=b\u00a0c;", "m required a=b\u0080c;", "m\trequired\fa=b\r\n;", "m required a=b\x00c=d;",
		"m required a=1 b=2.5 c=-3;", "m required a=b a=c;", "m required a=\"\";", "m required \"\"=b;", "\"\" required;", "m \"\" a=b;", "m required a=b;\n", "m required\na\n=\nb\n;",
	} {
		b.add("jaas", fmt.Sprint(i), hexOf(text))
	}
	for i := range 400 {
		b.add("jaas", fmt.Sprint("random", i), hexOf("m required "+b.pick(9, "a", "=", "=", "b", " ", " ", "\"", "'", "/", "*", "\\", "\n", ";", "7", "n", "é", "c=d ", "\"x\"", "e='f'")+b.pick(1, ";", "a=b;", "")))
	}
}

func (b *book) plain() {
	for i, token := range []string{
		"\x00alice\x00alice-secret", "alice\x00alice\x00alice-secret", "\x00alice\x00wrong", "\x00bob\x00alice-secret", "admin\x00alice\x00alice-secret", "admin\x00alice\x00wrong", "alice\x00admin\x00admin-secret",
		"\x00\x00x", "\x00alice\x00", "\x00eve\x00", "", "\x00", "\x00\x00", "alice", "alice\x00alice-secret", "\x00alice\x00alice-secret\x00", "\x00ALICE\x00alice-secret", "\x00alice \x00alice-secret", " \x00alice\x00alice-secret", "\x00al\xffice\x00alice-secret",
	} {
		b.add("plain", fmt.Sprint(i), hexOf(token))
	}
}

func (b *book) scram() {
	for i, first := range []string{
		"n,,n=alice,r=abc", "n,a=alice,n=alice,r=abc", "n,a=bob,n=alice,r=abc", "n,,n=a=2Cb=3Dc,r=abc", "n,,n=a=2cb,r=abc", "n,,n=a=b,r=abc", "n,,n=,r=abc", "n,,n=alice,r=", "n,,n=alice", "n,,r=abc,n=alice", "y,,n=alice,r=abc", "p=tls-unique,,n=alice,r=abc", "",
		"n,,n=alice,r=abc,x=y", "n,,n=alice,r=abc,x=", "n,,n=alice,r=abc,=y", "n,,n=alice,r=abc,x1=y", "n,,n=alice,r=abc,", "n,,n=alice,r=a=b", "n,,n=alice,r=a b", "n,,n=alice,r=ab\x7f", "n,,n=al\x00ice,r=abc", "n,,n=ali\x01ce,r=abc", "n,,n=älice,r=abc", "n,a=,n=alice,r=abc", "n,,n=alice,r=abc\n",
		"N,,n=alice,r=abc", "n,n=alice,r=abc", "n,,n=token1,r=abc,tokenauth=true", "n,,n=token1,r=abc,tokenauth=TRUE", "n,,n=token1,r=abc,tokenauth=yes", "n,a=token1,n=token1,r=abc,tokenauth=true", "n,a=owner,n=token1,r=abc,tokenauth=true", "n,,n=token2,r=abc,tokenauth=true",
		"n,,n=mallory,r=abc", "n,,n=weak,r=abc", "n,,m=ext,n=alice,r=abc",
	} {
		b.add("scram", fmt.Sprint("first", i), ScramSHA256, "none", hexOf(first), "-")
	}
	for i := range 150 {
		b.add("scram", fmt.Sprint("randomfirst", i), ScramSHA256, "none", hexOf(b.pick(1, "n,,n=alice,r=", "n,", "n,,", "n,a=alice,n=alice")+b.pick(5, "abc", ",", "r=", "n=", "=2C", "=", "x=y", " ", "tokenauth=true", "a", "é", "1", "\x7f")), "-")
	}
	for _, m := range []string{ScramSHA256, ScramSHA512} {
		for _, change := range []string{"good", "nonce", "clientnonce", "proof", "shortproof", "noproof", "base64", "again", "empty", "channel"} {
			b.add("scram", change, m, change, hexOf("n,,n=alice,r=nonce"), hexOf("alice-secret"))
		}
		b.add("scram", "wrong", m, "good", hexOf("n,,n=alice,r=nonce"), hexOf("wrong"))
		b.add("scram", "unknown", m, "none", hexOf("n,,n=mallory,r=nonce"), hexOf("wrong"))
		b.add("scram", "odd", m, "good", hexOf("n,,n=a=2Cb=3Dc,r=nonce"), hexOf("odd-secret"))
		b.add("scram", "extension", m, "good", hexOf("n,,n=alice,r=nonce,x=y"), hexOf("alice-secret"))
		b.add("scram", "token", m, "good", hexOf("n,,n=token1,r=nonce,tokenauth=true"), hexOf("token-hmac"))
		b.add("scram", "wrongtoken", m, "good", hexOf("n,,n=token1,r=nonce,tokenauth=true"), hexOf("alice-secret"))
	}
}

func (b *book) bearer() {
	for i, text := range []string{
		"n,,\x01auth=Bearer abc\x01\x01", "n,a=alice,\x01auth=Bearer abc\x01\x01", "n,a=a=2Cb,\x01auth=Bearer abc\x01\x01", "n,,\x01auth=bearer abc\x01\x01", "n,,\x01auth=BEARER   abc\x01\x01", "n,,\x01auth=Basic abc\x01\x01", "n,,\x01auth=Bearer\x01\x01", "n,,\x01auth=Bearer \x01\x01", "n,,\x01auth=Bearer a b\x01\x01", "n,,\x01auth=Bearer abc==\x01\x01", "n,,\x01auth=Bearer a=b\x01\x01", "n,,\x01auth=Bearer a-_~+/.Z9\x01\x01", "n,,\x01auth=Bearer a*c\x01\x01", "n,,\x01auth=Bearer =\x01\x01", "n,,\x01auth= Bearer abc\x01\x01", "n,,\x01auth=Bearer\tabc\x01\x01", "n,,\x01auth=Bearer abc \x01\x01",
		"n,,\x01\x01", "n,,\x01auth=Bearer abc\x01", "n,,auth=Bearer abc\x01\x01", "y,,\x01auth=Bearer abc\x01\x01", "", "\x01", "n,,\x01host=x\x01auth=Bearer abc\x01port=9092\x01\x01", "n,,\x01auth=Bearer abc\x01host=x\x01\x01", "n,,\x01host=x\x01\x01", "n,,\x01auth=Bearer abc\x01h1=x\x01\x01", "n,,\x01auth=Bearer abc\x01h=\x01\x01", "n,,\x01auth=Bearer abc\x01=x\x01\x01", "n,,\x01auth=Bearer abc\x01h=a=b\x01\x01", "n,,\x01auth=Bearer abc\x01h=tab\there \r\n\x01\x01", "n,,\x01auth=Bearer abc\x01h=\x02\x01\x01", "n,,\x01auth=Bearer abc\x01h=ü\x01\x01", "n,,\x01auth=Bearer abc\x01auth=Bearer def\x01\x01", "n,,\x01Auth=Bearer abc\x01\x01", "n,,\x01auth=Bearer abc\x01\x01\x01", "n,,\x01auth=Bearer abc\x01\x01x", "n,a=,\x01auth=Bearer abc\x01\x01", "n,a=ü,\x01auth=Bearer abc\x01\x01", "n,b=x,\x01auth=Bearer abc\x01\x01",
	} {
		b.add("bearer", fmt.Sprint(i), hexOf(text))
	}
	for i := range 200 {
		b.add("bearer", fmt.Sprint("random", i), hexOf(b.pick(1, "n,,\x01", "n,a=x,\x01", "n,,", "")+b.pick(6, "auth=Bearer abc", "\x01", "\x01", "auth=", "Bearer ", "x=y", "=", " ", "a", "\n", "é", "host=h\x01")+b.pick(1, "\x01\x01", "\x01", "")))
	}
}

func (b *book) kerberos() {
	rules := [][]string{
		{"DEFAULT"}, {"RULE:[1:$1]"}, {"RULE:[1:$1]", "RULE:[2:$1]"}, {"RULE:[1:$1@$0](.*@OTHER)s/@.*//", "DEFAULT"}, {"RULE:[2:$1;$2](^kafka;.*)s/;.*//", "DEFAULT"}, {"RULE:[2:$1;$2]s/;/-/g/U"}, {"RULE:[1:$1]/L", "RULE:[2:$1]/U"}, {"RULE:[1:$1@$0]s/@.*//L"}, {"RULE:[1:$1@$0](.*@REALM)s/(.)(.*)@.*/$2$1/"}, {"RULE:[2:$2$1$0]s/[A-Z]//g"},
		{"RULE:[1:$1]s/a/\\$b/g"}, {"RULE:[1:$1@$0]"}, {"RULE:[2:$1/$2]"}, {"RULE:[1:$3]"}, {"RULE:[1:$]"}, {"RULE:[1:a$1b]s/^a(.*)b$/$1/"}, {"RULE:[1:$1](a.*)"}, {"RULE:[1:$1]s/l//"}, {"RULE:[1:$1]s/l//g"}, {"RULE:[1:$1]s/x*/-/g"}, {"RULE:[1:$1]s/(a)|(b)/<$1$2>/g"}, {"RULE:[0:x]"}, {"RULE:[:$1]"}, {"RULE:[1:$1"}, {"RULE:[1:$1]x"}, {"rule:[1:$1]"}, {"DEFAULT DEFAULT"}, {""}, {"RULE:[1:$1]s/a/b"}, {"RULE:[1:$1]s/a/b/x"}, {"RULE:[1:$1](a"}, {"RULE:[1:$1]()s/a/b/"}, {"RULE:[1:$1]s//x/"}, {"RULE:[1:$1]s/a/$1/"}, {"RULE:[1:$1]s/(a)/$12/"}, {"RULE:[1:$1]/L/U"}, {"RULE:[1:$1]L"}, {"RULE:[1:$1]s/a/b/gL"}, {"RULE:[1:$1]s/a/b//L"}, {"RULE:[1:$1](*)"}, {"RULE:[1:$1]s/[/b/"},
	}
	for i, list := range rules {
		var parts []string
		for _, r := range list {
			parts = append(parts, hexOf(r))
		}
		for j, name := range []string{"alice@REALM", "alice@OTHER", "kafka/host.example@REALM", "kafka/host@OTHER", "alice", "kafka/host", "a/b/c@REALM", "a@b@REALM", "@REALM", "/@REALM", "alice@", "Al.ice-1@REALM", "kafka/@REALM"} {
			b.add("kerberos", fmt.Sprintf("%d/%d", i, j), hexOf("REALM"), strings.Join(parts, ","), hexOf(name))
		}
	}
}

func (b *book) unsecured() {
	token := func(header, payload, signature string) string {
		e := base64.RawURLEncoding.EncodeToString
		return "n,,\x01auth=Bearer " + e([]byte(header)) + "." + e([]byte(payload)) + "." + signature + "\x01\x01"
	}
	none := `{"alg":"none"}`
	for i, text := range []string{
		token(none, `{"sub":"alice","exp":4102444800,"iat":1500000000,"scope":"read write"}`, ""), token(none, `{"sub":"alice","exp":4102444800,"scope":["write","read","x"]}`, ""), token(none, `{"sub":"alice","exp":4102444800,"scope":"read"}`, ""), token(none, `{"sub":"alice","exp":4102444800}`, ""),
		token(none, `{"sub":"alice","scope":"read write"}`, ""), token(none, `{"exp":4102444800,"scope":"read write"}`, ""), token(none, `{"sub":7,"exp":4102444800,"scope":"read write"}`, ""), token(none, `{"sub":"alice","exp":1500000000,"scope":"read write"}`, ""), token(none, `{"sub":"alice","exp":"4102444800","scope":"read write"}`, ""), token(none, `{"sub":"alice","exp":4102444800,"iat":4102444700,"scope":"read write"}`, ""), token(none, `{"sub":"alice","exp":4102444800,"iat":"x","scope":"read write"}`, ""),
		token(`{"alg":"RS256"}`, `{"sub":"alice","exp":4102444800,"scope":"read write"}`, ""), token(`{"alg":"RS256"}`, `{"sub":"alice","exp":4102444800,"scope":"read write"}`, "AAAA"), token(none, `{"sub":"alice","exp":4102444800,"scope":"read write"}`, "AAAA"), token(`{"alg":"None"}`, `{"sub":"alice","exp":4102444800,"scope":"read write"}`, ""), token(`{}`, `{"sub":"alice","exp":4102444800,"scope":"read write"}`, ""), token(none, `[]`, ""), token(none, `{`, ""), token("x", `{}`, ""), "n,,\x01auth=Bearer abc\x01\x01", "n,,\x01auth=Bearer a.b\x01\x01", "n,,\x01auth=Bearer ..\x01\x01",
	} {
		b.add("unsecured", fmt.Sprint(i), hexOf(text))
	}
}

// jwtCase is a token: header and claims as JSON, and who signs.
type jwtCase struct {
	name, header, claims, key string
}

const goodClaims = `{"sub":"alice","iss":"https://issuer.example","aud":"kafka","iat":1500000000,"exp":4102444800,"scope":"read"}`

// with replaces one claim of goodClaims, or adds it; an empty value takes it out.
func with(name, value string) string {
	var c map[string]json.RawMessage
	if err := json.Unmarshal([]byte(goodClaims), &c); err != nil {
		panic(err)
	}
	delete(c, name)
	if value != "" {
		c[name] = json.RawMessage(value)
	}
	out, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func jwtCases() []jwtCase {
	r1 := `{"alg":"RS256","kid":"r1"}`
	cases := []jwtCase{
		{"RS256", r1, goodClaims, "r1"}, {"PS256", `{"alg":"PS256","kid":"r2"}`, goodClaims, "r2"}, {"RS512", `{"alg":"RS512","kid":"r2"}`, goodClaims, "r2"}, {"ES256", `{"alg":"ES256","kid":"e1"}`, goodClaims, "e1"}, {"EdDSA", `{"alg":"EdDSA","kid":"ed"}`, goodClaims, "ed"},
		{"no-kid", `{"alg":"ES256"}`, goodClaims, "e1"}, {"unknown-kid", `{"alg":"RS256","kid":"other"}`, goodClaims, "r1"}, {"other-key", r1, goodClaims, "r2"}, {"stranger", r1, goodClaims, "stranger"},
		{"alg-none", `{"alg":"none","kid":"r1"}`, goodClaims, ""}, {"alg-none-no-kid", `{"alg":"none"}`, goodClaims, ""}, {"alg-NoNe", `{"alg":"NoNe","kid":"r1"}`, goodClaims, ""}, {"alg-missing", `{"kid":"r1"}`, goodClaims, "r1"}, {"unsigned", r1, goodClaims, ""}, {"confusion", `{"alg":"HS256","kid":"r1"}`, goodClaims, "hmac-of-r1"}, {"shared-secret", `{"alg":"HS256","kid":"oct"}`, goodClaims, "oct"},
		{"alg-of-key", `{"alg":"PS256","kid":"r1"}`, goodClaims, "r1"}, {"es-with-rsa", `{"alg":"ES256","kid":"r1"}`, goodClaims, "e1"}, {"rs-with-ec", `{"alg":"RS256","kid":"e1"}`, goodClaims, "r1"}, {"small-key", `{"alg":"RS256","kid":"small"}`, goodClaims, "small"}, {"use-enc", `{"alg":"RS256","kid":"enc"}`, goodClaims, "enc"},
		{"crit", `{"alg":"RS256","kid":"r1","crit":["x"],"x":1}`, goodClaims, "r1"}, {"embedded-jwk", "embedded", goodClaims, "stranger"}, {"typ", `{"alg":"RS256","kid":"r1","typ":"at+jwt"}`, goodClaims, "r1"}, {"header-array", `[]`, goodClaims, "r1"}, {"header-twice", `{"alg":"RS256","kid":"r1","alg":"RS256"}`, goodClaims, "r1"}, {"claims-twice", r1, goodClaims[:len(goodClaims)-1] + `,"sub":"admin"}`, "r1"}, {"claims-array", r1, `[]`, "r1"}, {"claims-broken", r1, `{"sub":`, "r1"}, {"claims-empty", r1, `{}`, "r1"},
	}
	for _, c := range []struct{ name, values string }{
		{"exp", ` |1500000100|"4102444800"|4102444800.7|-1|null|1e30|1400000000`}, {"iat", ` |"x"|null|-5|0`}, {"nbf", `4000000000|1500000000|"x"|4102444900`},
		{"iss", ` |"https://other.example"|""|7|["https://issuer.example"]`}, {"aud", ` |"other"|["other","moldau"]|["other"]|[]|7|[7]|"Kafka"`},
		{"sub", ` |""|" "|" alice "|7|null|["alice"]`}, {"scope", ` |["a","b"]|["a","a"]|[""]|""|" "|7|[7]|null`}, {"extra", `{"deep":[[[[1]]]]}`},
	} {
		for i, v := range strings.Split(c.values, "|") {
			cases = append(cases, jwtCase{fmt.Sprintf("%s-%d", c.name, i), r1, with(c.name, strings.TrimSuffix(v, " ")), "r1"})
		}
	}
	return cases
}

// signer makes the keys and signs by name.
type signer struct {
	keys map[string]crypto.Signer
	set  jose.JSONWebKeySet
	oct  []byte
}

// Keys are made once: it takes long.
var signers = [2]func() *signer{sync.OnceValue(makeSigner), sync.OnceValue(makeSigner)}

func newSigner(*testing.T) *signer { return signers[0]() }

func makeSigner() *signer {
	s := &signer{keys: map[string]crypto.Signer{}, oct: []byte("0123456789abcdef0123456789abcdef")}
	add := func(k crypto.Signer, err error, id, algorithm, use string) {
		if err != nil {
			panic(err)
		}
		s.keys[id] = k
		if use != "" {
			s.set.Keys = append(s.set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: id, Algorithm: algorithm, Use: use})
		}
	}
	key := func(bits int) (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
	k, err := key(2048)
	add(k, err, "r1", "RS256", "sig")
	k, err = key(2048)
	add(k, err, "r2", "", "sig")
	k, err = key(2048)
	add(k, err, "stranger", "", "")
	k, err = key(1024)
	add(k, err, "small", "RS256", "sig")
	k, err = key(2048)
	add(k, err, "enc", "", "enc")
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	add(e, err, "e1", "ES256", "sig")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	add(ed, err, "ed", "EdDSA", "sig")
	s.set.Keys = append(s.set.Keys, jose.JSONWebKey{Key: s.oct, KeyID: "oct", Algorithm: "HS256", Use: "sig"})
	return s
}

func (s *signer) token(t *testing.T, c jwtCase) string {
	e := base64.RawURLEncoding.EncodeToString
	if c.header == "embedded" {
		jwk, err := json.Marshal(jose.JSONWebKey{Key: s.keys["stranger"].Public()})
		if err != nil {
			t.Fatal(err)
		}
		c.header = `{"alg":"RS256","jwk":` + string(jwk) + `}`
	}
	input := e([]byte(c.header)) + "." + e([]byte(c.claims))
	var h struct{ Alg string }
	_ = json.Unmarshal([]byte(c.header), &h)
	return input + "." + e(s.sign(t, c.key, h.Alg, input))
}

func (s *signer) sign(t *testing.T, key, algorithm, input string) []byte {
	hash := crypto.SHA256
	if strings.HasSuffix(algorithm, "512") {
		hash = crypto.SHA512
	}
	digest := hash.New()
	digest.Write([]byte(input))
	sum := digest.Sum(nil)
	switch key {
	case "":
		return nil
	case "oct":
		return hmacOf(s.oct, input)
	case "hmac-of-r1":
		jwk := jose.JSONWebKey{Key: s.keys["r1"].Public()}
		text, err := jwk.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return hmacOf(text, input)
	}
	var out []byte
	var err error
	switch k := s.keys[key].(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(algorithm, "PS") {
			out, err = rsa.SignPSS(rand.Reader, k, hash, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			out, err = rsa.SignPKCS1v15(nil, k, hash, sum)
		}
	case *ecdsa.PrivateKey:
		out = make([]byte, 64)
		r, v, signErr := ecdsa.Sign(rand.Reader, k, sum)
		if err = signErr; err == nil {
			r.FillBytes(out[:32])
			v.FillBytes(out[32:])
		}
	case ed25519.PrivateKey:
		out = ed25519.Sign(k, []byte(input))
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (b *book) jwt(t *testing.T) string {
	s := newSigner(t)
	put := func(name, authorization, token, extension string) {
		b.add("jwt", name, hexOf("n,"+authorization+",\x01auth=Bearer "+token+"\x01"+extension+"\x01"))
	}
	for _, c := range jwtCases() {
		put(c.name, "", s.token(t, c), "")
	}
	good := s.token(t, jwtCases()[0])
	parts := strings.Split(good, ".")
	put("authorization", "a=alice", good, "")
	put("other-authorization", "a=admin", good, "")
	put("extension", "", good, "traceId=7\x01")
	put("two-parts", "", parts[0]+"."+parts[1], "")
	put("no-signature", "", parts[0]+"."+parts[1]+".", "")
	put("four-parts", "", good+".x", "")
	put("five-parts", "", good+".x.y", "")
	put("tampered-claims", "", parts[0]+"."+base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(goodClaims, "alice", "admin", 1)))+"."+parts[2], "")
	put("tampered-signature", "", parts[0]+"."+parts[1]+"."+"AAAA"+parts[2][4:], "")
	put("short-signature", "", parts[0]+"."+parts[1]+"."+parts[2][:20], "")
	put("padded", "", good+"==", "")
	put("standard-base64", "", parts[0]+"."+parts[1]+"."+strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]), "")
	put("nonsense", "", "abc", "")
	put("dots", "", "..", "")
	out, err := json.MarshalIndent(s.set, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}
