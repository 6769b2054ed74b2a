package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/internal/clock"
)

// TestPipedToken: a token that is longer than any password is read whole when it is piped in, as it is from a file.
func TestPipedToken(t *testing.T) {
	token := strings.Repeat("a", maxPasswordBytes+1000)
	got, err := readSecret("-", strings.NewReader(token+"\n"))
	if err != nil || got != token {
		t.Errorf("%d of %d bytes, %v", len(got), len(token), err)
	}
	if _, err := readSecret("-", strings.NewReader(strings.Repeat("a", maxStoreBytes+1))); err == nil {
		t.Error("without end, and taken")
	}
}

// TestSalt: the salt of a user looks like those that nodes make up for users that there are not.
func TestSalt(t *testing.T) {
	for _, m := range scramMechanisms {
		u, err := salted(&clock.Real{}, "alice", m, "alice-secret", 4096)
		if err != nil || !regexp.MustCompile(`^[0-9a-z]{20,26}$`).Match(u.Salt) || u.Password != "" {
			t.Errorf("%v: salt %q, %v", m, u.Salt, err)
		}
	}
	if _, err := salted(&clock.Real{}, "alice", kadm.ScramSha512, "alice-secret", 1<<30); err == nil {
		t.Error("a thousand million rounds are begun")
	}
}
