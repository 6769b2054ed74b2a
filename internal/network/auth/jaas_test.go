package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
)

// TestJAASErrorsNameThePlace: what is wrong is told by line and column and never by the text there, which may be a password.
func TestJAASErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		`m required a=geheim geheim=;`:        "Value not specified for an option, or not quoted though it is no plain word in JAAS config (line 1, column 28)",
		`m required password=geheim geheim;`:  "Value not specified for an option: '=' is missing in JAAS config (line 1, column 34)",
		`m required password=1geheim;`:        "Value not specified for an option, or not quoted though it is no plain word in JAAS config (line 1, column 21)",
		"m required\n ä=\"geheim\"\n  =b;":    "The name of an option is missing in JAAS config (line 3, column 3)",
		`m geheim;`:                           "Invalid login module control flag: write required, requisite, sufficient or optional in JAAS config (line 1, column 3)",
		`m`:                                   "Login module control flag not specified in JAAS config (line 1, column 2)",
		`m required password="geheim"`:        "Entry not terminated by semi-colon in JAAS config (line 1, column 29)",
		`m required password="geheim;`:        "Entry not terminated by semi-colon in JAAS config (line 1, column 29)",
		``:                                    "Login module not specified in JAAS config",
		`m required; n required a="geheim";`:  "JAAS config property contains 2 login modules, should be 1 module",
		`KafkaServer { m required a="geheim"`: "Entry not terminated by semi-colon in JAAS config (line 1, column 36)",
	} {
		_, err := ParseJAAS(text)
		if err == nil || err.Error() != want || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestJAASFile(t *testing.T) {
	const file = `
// Logins of a broker.
KafkaServer {
    ` + plainModule + ` required
    username="admin"
    password="admin-secret"
    user_admin="admin-secret";

    ` + scramModule + ` required;
};
client.KafkaServer { /* of one listener */ ` + plainModule + ` required user_alice="alice-secret"; };
Empty { };
`
	sections, err := ParseJAASFile(file)
	if err != nil || len(sections) != 3 || len(sections["KafkaServer"]) != 2 || len(sections["Empty"]) != 0 || sections["client.KafkaServer"][0].Options["user_alice"] != "alice-secret" {
		t.Fatalf("%v %v", sections, err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", sections, sections, sections), "secret") {
		t.Error("printing sections shows passwords")
	}
	for text, want := range map[string]string{
		"KafkaServer": "A section's '{' is missing", "KafkaServer {": "Login module not specified", "KafkaServer { m required; }": "A section is not terminated by semi-colon",
		"{ m required; };": "The name of a section is missing", "A {}; A {};": "A section stands twice", "A { m required; }; =": "The name of a section is missing",
	} {
		var e *JAASError
		if _, err := ParseJAASFile(text); !errors.As(err, &e) || e.Message != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	l, err := ParseJAAS(`KafkaServer { ` + plainModule + ` required user_a="b"; };`)
	if err != nil || l.Options["user_a"] != "b" {
		t.Errorf("%v %v", l, err)
	}
	testStaticFile(t, file)
}

// testStaticFile logs in by a static file: the listener's own section goes first.
func testStaticFile(t *testing.T, file string) {
	for listener, want := range map[string]string{"CLIENT": "User:alice", "OTHER": "Authentication failed: Invalid username or password"} {
		o := testOptions(clock.NewHand(1), settings{staticFile: "/jaas.conf"}, Plain)
		o.Listener = listener
		o.ReadFile = func(string) ([]byte, error) { return []byte(file), nil }
		v, _ := verdict(begin(t, newServer(t, o), Plain), []byte("\x00alice\x00alice-secret"))
		if !strings.HasPrefix(v, want) {
			t.Errorf("listener %s: %s, want %s", listener, v, want)
		}
	}
	for want, text := range map[string]string{
		"has neither a section KafkaServer nor client.KafkaServer": "KafkaClient { m required; };",
		"has no login for PLAIN":                                   "KafkaServer { m required; };",
		"line 1, column 15":                                        "KafkaServer { ; };",
	} {
		o := testOptions(clock.NewHand(1), settings{staticFile: "/jaas.conf"}, Plain)
		o.ReadFile = func(string) ([]byte, error) { return []byte(text), nil }
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestSettingsThatDoNotStart(t *testing.T) {
	for want, c := range map[string]struct {
		mechanism string
		set       settings
	}{
		"set listener.name.client.plain.sasl.jaas.config to: " + plainModule + " required user_alice=": {Plain, settings{}},
		"names another login module":             {Plain, settings{"PLAIN sasl.jaas.config": scramModule + " required;"}},
		"JAAS config (line 1, column 57)":        {Plain, settings{"PLAIN sasl.jaas.config": plainModule + " geheim;"}},
		"there is no such mechanism":             {"DIGEST-MD5", settings{}},
		"sasl.jaas.config: Login module control": {ScramSHA256, settings{"SCRAM-SHA-256 sasl.jaas.config": "m"}},
	} {
		_, err := New(testOptions(clock.NewHand(1), c.set, c.mechanism))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if _, err := New(testOptions(clock.NewHand(1), nil)); err == nil || !strings.Contains(err.Error(), "sasl.enabled.mechanisms") {
		t.Error(err)
	}
	o := testOptions(clock.NewHand(1), nil, ScramSHA512)
	o.Credentials = nil
	if _, err := New(o); err == nil {
		t.Error("SCRAM without credentials")
	}
	if s := newServer(t, testOptions(clock.NewHand(1), nil, ScramSHA512, Plain, Plain)); fmt.Sprint(s.Mechanisms()) != "[SCRAM-SHA-512 PLAIN]" {
		t.Error(s.Mechanisms())
	}
}
