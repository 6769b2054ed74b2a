package cli

import (
	"strings"
	"testing"
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
