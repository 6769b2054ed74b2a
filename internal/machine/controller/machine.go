package controller

import (
	"fmt"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// MaxRecordsPerRequest bounds the records that one client's request may make, as Kafka does.
const MaxRecordsPerRequest = 10_000

// Context is what a decision depends on beside the image and the request.
type Context struct {
	// ClusterID is what a registering broker must name.
	ClusterID string
	// NodeID is this controller's id.
	NodeID int32
	// KRaftVersion is the finalized kraft.version.
	KRaftVersion int16
	// Offset is the one that the first record of the decision will get.
	Offset int64
	// Broker is the one that took the request from a client, -1 for none: it may change only its own settings.
	Broker int32
	// Config is the static settings of this node.
	Config *config.BrokerConfig
	// NowMs is the time, in Unix milliseconds.
	NowMs int64
	// Rand draws topic ids and the first rack of a placement.
	Rand clock.Rand
	// Permit is asked before so many partitions of a topic are made or deleted; false refuses the topic with
	// THROTTLING_QUOTA_EXCEEDED (KIP-599). Nil permits everything.
	Permit func(partitions int) bool
}

// Metered is a request whose changes of partitions count for a quota.
type Metered struct {
	Request any
	Permit  func(partitions int) bool
}

// Decision is what came of a request.
type Decision struct {
	// Records are to be appended in one batch; none is common.
	Records []wire.MetadataRecord
	// Reply is the response message, to be sent when the records are committed.
	Reply any
	// Splittable: the records stand each for itself and may go into several batches when they are too many for one.
	Splittable bool
}

// Machine is the active controller's state: the image of all decisions so far,
// committed or not.
type Machine struct {
	replay *metadata.Replay
}

// New starts from an image.
func New(i *metadata.Image) *Machine { return &Machine{replay: metadata.NewReplay(i)} }

// Image is the image with everything applied.
func (m *Machine) Image() *metadata.Image { return m.replay.Image() }

// InTransaction tells whether a metadata transaction is open: no snapshot may be taken then.
func (m *Machine) InTransaction() bool { return m.replay.InTransaction() }

// Apply takes the records of a batch that was appended at the given last offset, and says what they changed. An error
// means that the records contradict the image: a bug, or a log that this release cannot read.
func (m *Machine) Apply(records []wire.MetadataRecord, offset int64, epoch int32) (*metadata.Delta, error) {
	return m.replay.Batch(records, offset, epoch)
}

// Decide answers one request, which is one of wire's request messages. A kind that no controller
// answers is an error.
func (m *Machine) Decide(c *Context, request any) (Decision, error) {
	d := &decider{Context: c, image: m.Image()}
	switch r := request.(type) {
	case *Metered:
		c.Permit = r.Permit
		return m.Decide(c, r.Request)
	case *wire.CreateTopicsRequest:
		return topics{d}.createTopics(r), nil
	case *wire.DeleteTopicsRequest:
		return topics{d}.deleteTopics(r), nil
	case *wire.CreatePartitionsRequest:
		return topics{d}.createPartitions(r), nil
	case *wire.IncrementalAlterConfigsRequest:
		return settings{d}.incrementalAlterConfigs(r), nil
	case *wire.AlterConfigsRequest:
		return settings{d}.alterConfigs(r), nil
	case *wire.AllocateProducerIdsRequest:
		return brokers{d}.allocateProducerIDs(r), nil
	case *wire.AlterPartitionRequest:
		return partitions{d}.alterPartition(r), nil
	case *wire.ElectLeadersRequest:
		return partitions{d}.electLeaders(r), nil
	case *wire.AlterPartitionReassignmentsRequest:
		return partitions{d}.alterReassignments(r), nil
	case *wire.ListPartitionReassignmentsRequest:
		return partitions{d}.listReassignments(r), nil
	case *wire.AssignReplicasToDirsRequest:
		return partitions{d}.assignDirectories(r), nil
	case *wire.AlterClientQuotasRequest:
		return quotas{d}.alterClientQuotas(r), nil
	case *wire.AlterUserScramCredentialsRequest:
		return credentials{d}.alterCredentials(r), nil
	case *TokenRequest:
		if decision, ok := (tokens{d}).decide(r); ok {
			return decision, nil
		}
		return Decision{}, fmt.Errorf("the controller does not answer %T about delegation tokens", r.Message)
	case *ExpireTokens:
		return tokens{d}.expireAll(), nil
	case *wire.CreateAclsRequest:
		return rules{d}.createACLs(r), nil
	case *wire.DeleteAclsRequest:
		return rules{d}.deleteACLs(r), nil
	case *wire.UpdateFeaturesRequest:
		return features{d}.updateFeatures(r), nil
	case *wire.BrokerRegistrationRequest:
		return brokers{d}.registerBroker(r), nil
	case *wire.BrokerHeartbeatRequest:
		return brokers{d}.heartbeat(r), nil
	case *wire.UnregisterBrokerRequest:
		return brokers{d}.unregisterBroker(r), nil
	case *wire.ControllerRegistrationRequest:
		return brokers{d}.registerController(r), nil
	default:
		return Decision{}, fmt.Errorf("the controller does not answer %T", request)
	}
}

// decider is one decision being made.
type decider struct {
	*Context
	image   *metadata.Image
	records []wire.MetadataRecord
	merged  *config.BrokerConfig // brokerConfig's, once asked for
}

func (d *decider) add(r wire.MetadataRecord) { d.records = append(d.records, r) }

// done ends the decision with all records, or with none when the request only asked.
func (d *decider) done(reply any, validateOnly bool) Decision {
	if validateOnly {
		return Decision{Reply: reply}
	}
	return Decision{Records: d.records, Reply: reply}
}

// permit asks for leave to change so many partitions.
func (d *decider) permit(partitions int) *fault {
	if d.Permit == nil || d.Permit(partitions) {
		return nil
	}
	return standard(wire.ThrottlingQuotaExceeded)
}

// newID draws a topic id that Kafka would draw: not reserved, and with a text that does not begin with a dash.
func (d *decider) newID() wire.UUID {
	for {
		id := wire.UUID(clock.UUIDBits(d.Rand))
		if id.String()[0] != '-' && !id.Reserved() {
			return id
		}
	}
}

// fault is an answer other than success: a code and, where Kafka gives one, a message.
type fault struct {
	code    wire.Code
	message *string
}

// refuse makes a fault with a message.
func refuse(code wire.Code, format string, args ...any) *fault {
	s := fmt.Sprintf(format, args...)
	return &fault{code, &s}
}

// standard makes a fault with the text that Kafka sends with a code where it has nothing more to say.
func standard(code wire.Code) *fault {
	return refuse(code, "%s", map[wire.Code]string{
		wire.ThrottlingQuotaExceeded:     "The throttling quota has been exceeded.",
		wire.UnknownTopicOrPartition:     "This server does not host this topic-partition.",
		wire.UnknownTopicID:              "This server does not host this topic ID.",
		wire.ElectionNotNeeded:           "Leader election not needed for topic partition.",
		wire.PreferredLeaderNotAvailable: "The preferred leader was not available.",
		wire.EligibleLeadersNotAvailable: "Eligible topic partition leaders are not available.",
	}[code])
}

// parts gives the fields of an answer; nil is success.
func (f *fault) parts() (wire.Code, *string) {
	if f == nil {
		return wire.None, nil
	}
	return f.code, f.message
}
