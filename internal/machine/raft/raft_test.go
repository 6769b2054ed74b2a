package raft

import (
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

var dir = wire.UUID{1, 2, 3}

func one(t *testing.T, e Election, logEpoch int32, end int64) *Raft {
	t.Helper()
	self := Voter{ID: 1, Directory: dir}
	r, err := New(Config{Self: self, Voters: []Voter{self}}, e, logEpoch, end)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheOnlyVoterLeadsOnceItsEpochIsDurable(t *testing.T) {
	r := one(t, Election{Epoch: 4, Leader: 1, Voted: NoNode}, 3, 100)
	if ready := r.Ready(); ready != (Ready{}) || r.Leader() != NoNode {
		t.Errorf("a node that restarted leads without an election: %+v", ready)
	}
	r.Timeout()
	store := r.Ready()
	if store.Store == nil || *store.Store != (Election{Epoch: 5, Leader: 1, Voted: NoNode}) || store.Lead {
		t.Fatalf("after the timeout: %+v", store)
	}
	r.Stable(101) // of the epoch before
	r.Done(store, 0)
	lead := r.Ready()
	if lead.Store != nil || !lead.Lead {
		t.Fatalf("after the epoch is durable: %+v", lead)
	}
	r.Done(lead, 101)
	if r.Leader() != 1 || r.Epoch() != 5 {
		t.Errorf("leader %d of epoch %d", r.Leader(), r.Epoch())
	}
	r.Stable(101)
	if r.HighWatermark() != 0 {
		t.Errorf("committed %d before the first record of the epoch is stable", r.HighWatermark())
	}
	r.Stable(102)
	if ready := r.Ready(); ready != (Ready{HighWatermark: 102}) {
		t.Errorf("in the end: %+v", ready)
	}
}

func TestEpochIsAboveThatOfTheLog(t *testing.T) {
	r := one(t, Election{Epoch: 2, Leader: NoNode, Voted: NoNode}, 9, 10)
	r.Timeout()
	if r.Epoch() != 10 {
		t.Errorf("epoch %d, the log has records of 9", r.Epoch())
	}
}

func TestForeignVotersAreRefused(t *testing.T) {
	self := Voter{ID: 1, Directory: dir}
	for _, c := range []struct {
		voters []Voter
		want   string
	}{
		{nil, "0 voters"},
		{[]Voter{self, {ID: 2}}, "2 voters"},
		{[]Voter{{ID: 2, Directory: dir}}, "node 2"},
		{[]Voter{{ID: 1, Directory: wire.UUID{9}}}, "directory"},
	} {
		_, err := New(Config{Self: self, Voters: c.voters}, Election{}, 0, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("voters %v: error %v, want one about %s", c.voters, err, c.want)
		}
	}
	if _, err := New(Config{Self: self, Voters: []Voter{{ID: 1}}}, Election{}, 0, 0); err != nil {
		t.Errorf("a voter of kraft.version 0 has no directory: %v", err)
	}
}

func TestStateFilesAreKafkas(t *testing.T) {
	e := Election{Epoch: 2, Leader: 1, Voted: NoNode}
	v1 := `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`
	if got := string(EncodeState(e, 1, nil)); got != v1 {
		t.Errorf("version 1: %s", got)
	}
	v0 := `{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`
	if got := string(EncodeState(e, 0, []Voter{{ID: 1}})); got != v0 {
		t.Errorf("version 0: %s", got)
	}
	for _, s := range []string{v0, v1} {
		if got, err := DecodeState([]byte(s)); err != nil || got != e {
			t.Errorf("%s is %+v, %v", s, got, err)
		}
	}
	for _, bad := range []string{
		"", "{", "{}", `{"data_version":2}`, `{"leaderEpoch":-1,"data_version":0}`, `{"data_version":1}`,
		`{"leaderId":-2,"data_version":0}`, strings.Replace(v1, "AAAA", "!AAA", 1),
	} {
		if _, err := DecodeState([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`))
	f.Add([]byte(`{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[],"data_version":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeState(b)
		if err != nil {
			return
		}
		if again, err := DecodeState(EncodeState(e, 1, nil)); err != nil || again != e {
			t.Errorf("%+v comes back as %+v, %v", e, again, err)
		}
	})
}
