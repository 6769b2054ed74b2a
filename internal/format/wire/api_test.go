package wire

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAPIsAreComplete(t *testing.T) {
	if len(APIs) != 95 {
		t.Fatalf("there are %d APIs", len(APIs))
	}
	for i := range APIs {
		a := &APIs[i]
		if int(a.Key) != i || !strings.EqualFold(a.Name, kmsg.NameForKey(a.Key)) && a.Key != KeyAlterPartitionReassignments {
			t.Errorf("entry %d is %d, %s; the oracle has %s", i, a.Key, a.Name, kmsg.NameForKey(a.Key))
		}
		known, ok := Lookup(a.Key)
		if retired := a.Key >= KeyLeaderAndIsr && a.Key <= KeyControlledShutdown; retired {
			if ok || a.NewRequest != nil || a.NewResponse != nil {
				t.Errorf("%s is not retired", a.Name)
			}
			continue
		}
		if !ok || known != a || a.Listeners == 0 {
			t.Errorf("%s is not found, or served nowhere", a.Name)
		}
		oracle := kmsg.RequestForKey(a.Key)
		highest := oracle.MaxVersion()
		if a.Key == KeyInitProducerId {
			highest++ // version 6 is not stable, and not known to the oracle
		}
		if a.Max != highest || a.LatestUnstable != (a.Key == KeyInitProducerId) {
			t.Errorf("%s: the highest version is %d, unstable %t; the oracle has %d", a.Name, a.Max, a.LatestUnstable, oracle.MaxVersion())
		}
		for version := a.Min; version <= a.Max; version++ {
			oracle.SetVersion(version)
			request, response := a.NewRequest(), a.NewResponse()
			flexible := a.Flexible(version)
			if request.IsFlexible(version) != flexible || response.IsFlexible(version) != flexible || oracle.IsFlexible() != flexible {
				t.Errorf("%s %d: it is not agreed whether it is flexible", a.Name, version)
			}
			if request.APIKey() != a.Key || response.APIKey() != a.Key {
				t.Errorf("%s: the messages have other keys", a.Name)
			}
		}
	}
	if _, ok := Lookup(-1); ok {
		t.Error("key -1 is known")
	}
	if _, ok := Lookup(int16(len(APIs))); ok || APIName(int16(len(APIs))) != "unknown API" {
		t.Error("the key after the last one is known")
	}
}

func TestCodesAgreeWithOracle(t *testing.T) {
	for c := UnknownServerError; int(c)+1 < len(codes); c++ {
		if c.Message() == "" || c.String() == "" {
			t.Errorf("code %d has no text", c)
		}
		if c == None {
			continue
		}
		e, ok := kerr.ErrorForCode(int16(c)).(*kerr.Error)
		if !ok || e.Code != int16(c) {
			continue // not known to the oracle
		}
		if e.Message != c.String() && c != NotLeaderOrFollower { // the oracle has its former name
			t.Errorf("code %d is %v; the oracle has %s", int16(c), c, e.Message)
		}
	}
	if len(codes) != 138 || ControllerIDNotRegistered.String() != "CONTROLLER_ID_NOT_REGISTERED" {
		t.Errorf("there are %d codes", len(codes))
	}
}

func TestUnknownCodes(t *testing.T) {
	for _, c := range []Code{-2, 137, 32767, -32768} {
		if c.Message() != UnknownServerError.Message() || c.Retriable() || c.String() == "" {
			t.Errorf("code %d: %v", int16(c), c)
		}
	}
	if !NotLeaderOrFollower.Retriable() || InvalidRequest.Retriable() {
		t.Error("the wrong codes are retriable")
	}
	if got := NotCoordinator.Error(); got != "NOT_COORDINATOR: The broker is not the coordinator that is asked for." {
		t.Error(got)
	}
}

func TestUUIDText(t *testing.T) {
	for text, id := range map[string]UUID{
		"AAAAAAAAAAAAAAAAAAAAAA": {},
		"AAAAAAAAAAAAAAAAAAAAAQ": MetadataTopicID,
		"AAAAAAAAAAAAAAAAAAAAAg": LostDirID,
		"_____________________w": {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
	} {
		got, err := ParseUUID(text)
		if err != nil || got != id || id.String() != text {
			t.Errorf("%s: got %v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"", "AAAA", "AAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAA+"} {
		if _, err := ParseUUID(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if !LostDirID.Reserved() || !(UUID{15: 99}).Reserved() || (UUID{15: 100}).Reserved() || (UUID{0: 1}).Reserved() || !ZeroUUID.IsZero() {
		t.Error("the wrong identifiers are reserved")
	}
}
