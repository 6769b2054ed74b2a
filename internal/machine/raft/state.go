package raft

import (
	"encoding/json"
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
)

// MaxStateBytes bounds a quorum-state file: version 0 lists the voters.
const MaxStateBytes = 64 << 10

// stateV1 is the quorum-state file under kraft.version 1, in Kafka's order of fields.
type stateV1 struct {
	LeaderID         int32  `json:"leaderId"`
	LeaderEpoch      int32  `json:"leaderEpoch"`
	VotedID          int32  `json:"votedId"`
	VotedDirectoryID string `json:"votedDirectoryId"`
	DataVersion      int16  `json:"data_version"`
}

// stateV0 is the file under kraft.version 0.
type stateV0 struct {
	ClusterID     string         `json:"clusterId"`
	LeaderID      int32          `json:"leaderId"`
	LeaderEpoch   int32          `json:"leaderEpoch"`
	VotedID       int32          `json:"votedId"`
	AppliedOffset int64          `json:"appliedOffset"`
	CurrentVoters []stateV0Voter `json:"currentVoters"`
	DataVersion   int16          `json:"data_version"`
}

type stateV0Voter struct {
	VoterID int32 `json:"voterId"`
}

// EncodeState gives the content of the quorum-state file, in version 1 under kraft.version 1, else in
// version 0 with the ids of the voters.
func EncodeState(e Election, kraftVersion int16, voters []Voter) []byte {
	var v any
	if kraftVersion >= 1 {
		v = stateV1{e.Leader, e.Epoch, e.Voted, e.VotedDirectory.String(), 1}
	} else {
		s := stateV0{LeaderID: e.Leader, LeaderEpoch: e.Epoch, VotedID: e.Voted, CurrentVoters: []stateV0Voter{}}
		for _, voter := range voters {
			s.CurrentVoters = append(s.CurrentVoters, stateV0Voter{voter.ID})
		}
		v = s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil // numbers and plain text cannot fail
	}
	return b
}

// DecodeState reads a quorum-state file of either version.
func DecodeState(b []byte) (Election, error) {
	var s struct {
		stateV1
		DataVersion *int16 `json:"data_version"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return Election{}, fmt.Errorf("it is not the JSON that it should be: %w", err)
	}
	if s.DataVersion == nil || *s.DataVersion < 0 || *s.DataVersion > 1 {
		return Election{}, fmt.Errorf("its data_version is neither 0 nor 1")
	}
	e := Election{Epoch: s.LeaderEpoch, Leader: s.LeaderID, Voted: s.VotedID}
	if e.Epoch < 0 || e.Leader < NoNode || e.Voted < NoNode {
		return Election{}, fmt.Errorf("it has an epoch or an id below what there can be")
	}
	if *s.DataVersion == 1 {
		id, err := wire.ParseUUID(s.VotedDirectoryID)
		if err != nil {
			return Election{}, fmt.Errorf("its votedDirectoryId %q is no identifier", s.VotedDirectoryID)
		}
		e.VotedDirectory = id
	}
	return e, nil
}
