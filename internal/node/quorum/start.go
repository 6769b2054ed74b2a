package quorum

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/raft"
)

// Start tells the subscribers the image as loaded, elects this node, writes
// what a new cluster begins with, registers this node's controller and broker and
// unfences the broker. ready is called when all that is committed and the
// subscribers know it, or with the reason why it cannot be.
//
// Differs from Kafka: a node that is broker and controller is unfenced in the same breath, without heartbeats, because both
// live in one process; and an idle controller writes no NoOpRecord every half a second.
func (q *Quorum) Start(ready func(error)) {
	for _, f := range q.subscribers {
		f(q.Image(), nil)
	}
	if err := q.elect(); err != nil {
		ready(err)
		return
	}
	failed := false // ready is called once; these callbacks come one after the other
	step := func(request any, ok func(reply any) error) {
		q.Propose(request, func(reply any, err error) {
			if err == nil {
				err = ok(reply)
			}
			if err != nil && !failed {
				failed = true
				ready(err)
			}
		})
	}
	q.propose(q.activate, func(_ any, err error) {
		if err != nil && !failed {
			failed = true
			ready(err)
		}
	})
	step(q.controllerRegistration(), func(any) error { return nil })
	step(q.brokerRegistration(), func(reply any) error {
		r, ok := reply.(*wire.BrokerRegistrationResponse)
		invariant.Check(ok, "quorum: a registration is answered with %T", reply)
		if r.ErrorCode != wire.None {
			return q.registrationError(r.ErrorCode)
		}
		q.brokerEpoch.Store(r.BrokerEpoch)
		return nil
	})
	q.propose(q.unfence, func(reply any, err error) {
		if failed {
			return
		}
		if r, ok := reply.(*wire.BrokerHeartbeatResponse); err == nil && ok && r.ErrorCode != wire.None {
			err = q.registrationError(r.ErrorCode)
		}
		if err == nil {
			q.scheduleSnapshot()
		}
		ready(err)
	})
	q.pump()
}

// registrationError says why the controller does not take this node's broker.
func (q *Quorum) registrationError(code wire.Code) error {
	if code == wire.UnsupportedVersion {
		return fmt.Errorf("the cluster's finalized features (%s) are beyond what this release supports: run a newer release", q.featureList())
	}
	return fmt.Errorf("the controller refuses to register broker %d: %w (%s)", q.o.Identity.NodeID, code, code.Message())
}

// featureList names the features whose levels are beyond ours.
func (q *Quorum) featureList() string {
	var list []string
	levels := q.Image().Features()
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		f, known := metadata.SupportedFeature(name)
		if level := levels[name]; !known || level < f.Min || level > f.Max {
			list = append(list, fmt.Sprintf("%s %d", name, level))
		}
	}
	return strings.Join(list, ", ")
}

// elect begins a new epoch: first durably in quorum-state, then with a leader change record, which goes in
// front of the first append.
func (q *Quorum) elect() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.raft.Timeout()
	ready := q.raft.Ready()
	voters, err := q.voters()
	if err != nil {
		return err
	}
	state := raft.EncodeState(*ready.Store, q.loaded.kraftVersion, voters)
	if err := vfs.WriteFileAtomic(q.o.FS, filepath.Join(q.dir, stateFile), state); err != nil {
		return fmt.Errorf("storing the new epoch %d: %w", ready.Store.Epoch, err)
	}
	q.raft.Done(ready, 0)
	ready = q.raft.Ready()
	invariant.Check(ready.Lead, "quorum: the only voter was not elected")
	q.lead = q.leaderChange()
	q.raft.Done(ready, q.next)
	q.next += int64(record.Batch(q.lead).Count())
	q.o.Logger.Info("this node leads the metadata quorum", "epoch", q.raft.Epoch(), "voters", len(voters))
	// Busy until Start has put everything in line: it all goes in one append, with one sync.
	q.running, q.busy = true, true
	return nil
}

// leaderChange is the batch of control records that begins the epoch. In an
// empty log it also says what the snapshot of the format said, which followers
// do not get.
func (q *Quorum) leaderChange() []byte {
	now := clock.Millis(q.o.World.Now())
	w := record.NewBuilder(nil, record.Options{BaseOffset: q.next, LeaderEpoch: q.raft.Epoch(), Control: true})
	self := []wire.LeaderChangeMessageVoter{{VoterID: q.o.Identity.NodeID}}
	change := wire.LeaderChangeMessage{LeaderID: q.o.Identity.NodeID, Voters: self, GrantingVoters: self}
	w.AppendControl(now, record.ControlLeaderChange, change.Append(nil, 0))
	if q.next == 0 && q.loaded.kraftVersion >= 1 {
		version := wire.KRaftVersionRecord{KRaftVersion: q.loaded.kraftVersion}
		w.AppendControl(now, record.ControlKRaftVersion, version.Append(nil, 0))
		voters := wire.VotersRecord{Voters: q.loaded.voters}
		w.AppendControl(now, record.ControlKRaftVoters, voters.Append(nil, 0))
	}
	b, err := w.Finish()
	invariant.Check(err == nil, "quorum: the leader change cannot be built: %v", err)
	return b
}

// activate is the decision on what a new controller writes first: the end of a metadata transaction that the
// one before left open, and the bootstrap records of a new cluster, as Kafka does.
func (q *Quorum) activate(*controller.Context) (controller.Decision, error) {
	var records []wire.MetadataRecord
	if q.machine.InTransaction() {
		reason := "failover"
		records = append(records, &wire.AbortTransactionRecord{Reason: &reason})
	}
	if q.bootstrap == nil {
		return controller.Decision{Records: records}, nil
	}
	name := "Bootstrap records"
	records = append(records, &wire.BeginTransactionRecord{Name: &name})
	records = append(records, q.bootstrap...)
	if bootstrapLevel(q.bootstrap, metadata.FeatureELRVersion) > 0 {
		// Eligible leaders are counted against the cluster's minimum, so that becomes part of the metadata.
		minimum := strconv.Itoa(q.o.Config.GetInt("min.insync.replicas"))
		records = append(records, &wire.ConfigRecord{
			ResourceType: metadata.BrokerResource, Name: "min.insync.replicas", Value: &minimum,
		})
	}
	q.bootstrap = nil
	return controller.Decision{Records: append(records, &wire.EndTransactionRecord{})}, nil
}

// bootstrapLevel finds a feature's level.
func bootstrapLevel(records []wire.MetadataRecord, name string) int16 {
	for _, rec := range records {
		if f, ok := rec.(*wire.FeatureLevelRecord); ok && f.Name == name {
			return f.FeatureLevel
		}
	}
	return 0
}

func (q *Quorum) controllerRegistration() *wire.ControllerRegistrationRequest {
	r := &wire.ControllerRegistrationRequest{ControllerID: q.o.Identity.NodeID, IncarnationID: NewID(q.o.World)}
	for _, e := range q.o.Controller {
		r.Listeners = append(r.Listeners, wire.ControllerRegistrationRequestListener{
			Name: e.Name, Host: e.Host, Port: e.Port, SecurityProtocol: e.Protocol,
		})
	}
	for _, f := range metadata.SupportedFeatures() {
		r.Features = append(r.Features, wire.ControllerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	return r
}

func (q *Quorum) brokerRegistration() *wire.BrokerRegistrationRequest {
	r := &wire.BrokerRegistrationRequest{
		BrokerID: q.o.Identity.NodeID, ClusterID: q.o.Identity.ClusterID, IncarnationID: NewID(q.o.World),
		PreviousBrokerEpoch: q.o.PreviousBrokerEpoch,
	}
	if rack, ok := q.o.Config.Lookup("broker.rack"); ok {
		r.Rack = &rack
	}
	for _, e := range q.o.Listeners {
		r.Listeners = append(r.Listeners, wire.BrokerRegistrationRequestListener{
			Name: e.Name, Host: e.Host, Port: e.Port, SecurityProtocol: e.Protocol,
		})
	}
	for _, f := range metadata.SupportedFeatures() {
		r.Features = append(r.Features, wire.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	for _, dir := range q.o.LogDirs {
		r.LogDirs = append(r.LogDirs, q.o.Identity.Directories[dir])
	}
	return r
}

// unfence asks for the broker as it is registered by now, which is not committed yet.
func (q *Quorum) unfence(c *controller.Context) (controller.Decision, error) {
	r := &wire.BrokerHeartbeatRequest{BrokerID: q.o.Identity.NodeID, BrokerEpoch: -1}
	if b := q.machine.Image().Broker(r.BrokerID); b != nil {
		r.BrokerEpoch, r.CurrentMetadataOffset = b.BrokerEpoch, b.BrokerEpoch
	}
	return q.machine.Decide(c, r)
}

// Close fences the broker, so that the next start knows that it stopped cleanly, writes a snapshot if
// there is much to replay, and calls done. After it Propose answers ErrClosed.
func (q *Quorum) Close(done func(error)) {
	stop := &wire.BrokerHeartbeatRequest{BrokerID: q.o.Identity.NodeID, BrokerEpoch: q.BrokerEpoch(), WantShutDown: true}
	q.Propose(stop, func(_ any, err error) {
		q.mu.Lock()
		q.running = false
		q.mu.Unlock()
		q.finishSnapshots(func() { done(err) })
	})
}
