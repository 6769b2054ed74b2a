package node_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node"
)

// TestFormatWithUsers: who was put into the format logs in before anybody has set a password.
func TestFormatWithUsers(t *testing.T) {
	hand := clock.NewHand(1)
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
	fs := disk.Mount()
	cfg := saslConfig(t)
	done, err := node.Format(node.FormatOptions{
		Config: cfg, FS: fs, World: hand, ClusterID: "4L6g3nShT-eMCtK--X86sw", Release: "4.0", Features: []string{"group.version=0", "share.version=1"},
		Scram: []string{"SCRAM-SHA-256=[name=broker,password=broker-secret]", " SCRAM-SHA-512=[name=broker,password=broker-secret,iterations=5000]"},
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "release", done.Release, "4.0-IV3")
	same(t, "users", strings.Join(done.Users, ", "), "broker (SCRAM-SHA-256), broker (SCRAM-SHA-512)")
	s := &saslScript{rig: &rig{t: t, hand: hand}}
	ready := false
	s.node, err = node.Begin(node.Options{Config: cfg, FS: fs, World: hand, Logger: slog.New(slog.DiscardHandler), NoListeners: true},
		func(err error) {
			if ready = true; err != nil {
				t.Error(err)
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	s.until("ready", time.Minute, func() bool { return ready })
	s.conn = edge.NewDirect(s.node.Handler(), "SASL")
	s.step([]string{"handshake", "1", "SCRAM-SHA-256"})
	same(t, "login", s.step([]string{"scram", "broker", "broker-secret"}), `scram: in; authenticate: NONE "", lifetime 3000`)
	img := s.node.Image()
	if len(img.ScramCredentials()) != 2 || img.MetadataVersion() != 25 || img.Feature("group.version") != 0 || img.Feature("share.version") != 1 {
		t.Error(img.Features(), len(img.ScramCredentials()))
	}
}

// TestScramUserIsNotRepeated: what follows a comma in a password is in no error.
func TestScramUserIsNotRepeated(t *testing.T) {
	_, err := node.ParseScram(clock.NewHand(1), "SCRAM-SHA-256=[name=alice,password=abc,hush=hush]")
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

// FuzzScramUser: whatever is given as a user, it is one or an error that does not repeat it.
func FuzzScramUser(f *testing.F) {
	for _, text := range []string{
		"SCRAM-SHA-256=[name=alice,password=alice-secret]", `SCRAM-SHA-512=[name="b=ob",iterations=8192,salt=AAAA,saltedpassword=AAAA]`,
		"SCRAM-SHA-256", "FOO=[]", "SCRAM-SHA-256=[", "SCRAM-SHA-256=[name=a,password=b,iterations=-1]", "SCRAM-SHA-256=[name=a,password=b,salt=%]",
	} {
		f.Add(text)
	}
	hand := clock.NewHand(1)
	f.Fuzz(func(t *testing.T, text string) {
		u, err := node.ParseScram(hand, text)
		if err == nil && (u.Name == "" || len(u.StoredKey) == 0 || len(u.ServerKey) != len(u.StoredKey) || u.Iterations < 4096 || u.Iterations > 16384) {
			t.Errorf("%q gives %v", text, u)
		}
	})
}
