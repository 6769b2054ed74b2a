// Package broker answers Kafka's requests: one file per API, or per family of
// small ones.
//
// Duty: [Broker.Serve] decodes a request, asks the part that knows (partition
// table, quorum, coordinator), and encodes the answer with Kafka's error
// codes. Mapping from Go errors to wire codes happens here and nowhere else.
//
// Invariants: a handler never blocks waiting for another request: what must
// wait takes a callback. Exactly one answer per request. A frame's bytes are
// used only until the answer. What a request can make the node allocate is
// bounded by wire.Reader and by the named bounds of each file.
//
// Called by network/edge on the connection's goroutine; wired by node. It must
// never open a file or socket, or start a goroutine but through the world.
package broker

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
	"github.com/moldau/moldau/internal/node/partition"
	"github.com/moldau/moldau/internal/node/share"
	"github.com/moldau/moldau/internal/node/telemetry"
)

// Quorum is the controller as a broker needs it (node/quorum.Quorum).
type Quorum interface {
	// Propose decides a request; done gets the response message once it is
	// committed and applied, or an error when nothing was done.
	Propose(request any, done func(reply any, err error))
	// Image is the newest committed metadata.
	Image() *metadata.Image
	// BrokerEpoch is that of this node's registration.
	BrokerEpoch() int64
	// KRaftVersion is the finalized kraft.version.
	KRaftVersion() int16
	// The voters, and how they shall change.
	DescribeQuorum(*wire.DescribeQuorumRequest) *wire.DescribeQuorumResponse
	AddVoter(*wire.AddRaftVoterRequest) *wire.AddRaftVoterResponse
	RemoveVoter(*wire.RemoveRaftVoterRequest) *wire.RemoveRaftVoterResponse
	UpdateVoter(*wire.UpdateRaftVoterRequest) *wire.UpdateRaftVoterResponse
}

// Options are the parts a Broker works with.
type Options struct {
	NodeID    int32
	ClusterID string
	World     clock.World
	Logger    *slog.Logger
	// Config gives the broker's present settings, dynamic ones included.
	Config func() *config.BrokerConfig
	Quorum Quorum
	// MetadataTopic is the log in a data directory that is no topic's.
	MetadataTopic string
	// Controllers are the listeners that serve the controller's APIs, as
	// others reach them; all other listeners serve the broker's.
	Controllers []config.Listener
	Table       *partition.Table
	Stores      []*commitlog.Store
	Groups      *coordinator.Groups
	Shares      *coordinator.Shares
	// Transactions coordinates transactions.
	Transactions *coordinator.Transactions
	// Delivery serves the members of share groups.
	Delivery *share.Delivery
	// LogLevel is that of Logger.
	LogLevel *slog.LevelVar
	// Telemetry takes what clients push.
	Telemetry *telemetry.Table
	// SASL has the mechanisms of each listener with SASL; SetSASL changes it.
	SASL map[string]*auth.Server
	// Protocols says how each listener is protected.
	Protocols map[string]config.SecurityProtocol
	// CheckSettings tells whether the node could use settings, before they become its own; nil takes all.
	CheckSettings func(*config.BrokerConfig) error
	// CheckSASL is the same for the settings of SASL.
	CheckSASL func(*config.BrokerConfig) error
	// Authorizer decides what peers may do; nil lets everybody do everything.
	Authorizer *Authorizer
}

// Broker answers requests.
type Broker struct {
	rights

	nodeID    int32
	clusterID string
	world     clock.World
	logger    *slog.Logger
	config    func() *config.BrokerConfig
	quorum    Quorum
	metaTopic string
	// controllers never changes.
	controllers  []config.Listener
	table        *partition.Table
	stores       []*commitlog.Store
	groups       *coordinator.Groups
	shares       *coordinator.Shares
	delivery     *share.Delivery
	transactions *coordinator.Transactions
	telemetry    *telemetry.Table
	logLevel     *slog.LevelVar
	protocols    map[string]config.SecurityProtocol // never changes
	door         door
	// checkSettings never changes; nil takes all.
	checkSettings func(*config.BrokerConfig) error

	// handlers has every API that is served; it never changes.
	handlers map[int16]handler
	sessions *sessionCache
	resumers resumers
	// maxFetchBytes is fetch.max.bytes.
	maxFetchBytes int32
	producerIDs   producerIDs
	creations     creations
	produces      producePool
	turns         produceTurns
	latecomers    latecomers
	verified      verifications
	figures       *figures
	fetches       sync.Pool
	commits       sync.Pool
	shareReads    sync.Pool
	// tolls is nil while there is no client quota.
	tolls   atomic.Pointer[tolls]
	sensors *sensors
	// parkedPartitions is those of all fetches that wait.
	parkedPartitions atomic.Int64
	// unpacking has a place for each batch that is being unpacked.
	unpacking chan struct{}
}

var _ edge.Handler = (*Broker)(nil)

// New makes a broker.
func New(o Options) *Broker {
	b := &Broker{
		nodeID: o.NodeID, clusterID: o.ClusterID, world: o.World, logger: o.Logger, config: o.Config,
		quorum: o.Quorum, metaTopic: o.MetadataTopic, table: o.Table, handlers: table(), stores: o.Stores, groups: o.Groups,
	}
	b.controllers, b.shares, b.delivery = o.Controllers, o.Shares, o.Delivery
	b.figures, b.transactions = newFigures(), o.Transactions
	b.sensors = &sensors{all: map[sensorKey]*sensor{}}
	b.unpacking = make(chan struct{}, max(leastUnpacking, 2*runtime.GOMAXPROCS(0)))
	b.telemetry, b.logLevel, b.rights = o.Telemetry, o.LogLevel, rights{o.Authorizer}
	b.checkSettings = o.CheckSettings
	b.protocols = o.Protocols
	b.door.Broker, b.door.check, b.door.open.state = b, o.CheckSASL, loginDone
	for name, server := range o.SASL {
		b.SetSASL(name, server)
	}
	b.maxFetchBytes = int32(o.Config().GetInt("fetch.max.bytes"))
	b.sessions = newSessionCache(o.World, int(o.Config().GetLong("max.incremental.fetch.session.cache.slots")))
	return b
}

// Serve answers one request.
func (b *Broker) Serve(q *edge.Request) {
	if b.door.listeners.Load() != nil && !b.door.admitted(q) {
		return
	}
	key, version := q.Key, q.Version
	h, ok := b.handlers[key]
	if info, known := wire.Lookup(key); !ok || !known || info.Listeners&b.side(q) == 0 {
		q.Hangup(fmt.Errorf("api key %d is not served on listener %q", key, q.Conn().Listener()))
		return
	}
	if r := served(key); version < r.min || version > r.max {
		if key == wire.KeyApiVersions {
			b.refuseAPIVersions(q)
			return
		}
		q.Hangup(fmt.Errorf("version %d of api key %d is not served here, only %d to %d", version, key, r.min, r.max))
		return
	}
	if t := b.tolls.Load(); t != nil && t.requests {
		t.serve(b, h, q)
		return
	}
	h(b, q)
}

// side is the role of the listener that a request came by: each role has its own APIs.
func (b *Broker) side(q *edge.Request) wire.Listener {
	name := q.Conn().Listener()
	for i := range b.controllers {
		if b.controllers[i].Name == name {
			return wire.OnController
		}
	}
	return wire.OnBroker
}

// handler answers one kind of request.
type handler func(b *Broker, q *edge.Request)

// message is a request's type parameter: a pointer to T that can be decoded.
type message[T any] interface {
	*T
	Decode(r *wire.Reader, version int16)
}

// response is what can be sent as an answer.
type response interface {
	Append(b []byte, version int16) []byte
}

// on makes a handler of a function of the decoded request; the function calls
// answer exactly once, now or later.
func on[T any, P message[T], R response](f func(b *Broker, q *edge.Request, m P, answer func(R))) handler {
	codes, delay := codesIn(reflect.TypeFor[R]().Elem()), throttleField(reflect.TypeFor[R]().Elem())
	return func(b *Broker, q *edge.Request) {
		m := P(new(T))
		r := wire.NewReader(q.Body)
		m.Decode(r, q.Version)
		// Bytes behind the message are let be, as in Kafka: librdkafka 2 writes one too many when it asks for all topics.
		if err := r.Err(); err != nil {
			q.Hangup(malformed(q, err))
			return
		}
		if err := excess(m); err != nil {
			q.Hangup(fmt.Errorf("%s: %w", wire.APIName(q.Key), err))
			return
		}
		f(b, q, m, func(resp R) {
			b.figures.codes(q, codes, resp)
			if t := b.tolls.Load(); t != nil {
				t.answer(q, delay, resp)
			}
			reply(q, resp)
		})
	}
}

// now makes a handler of a function that answers at once.
func now[T any, P message[T], R response](f func(b *Broker, q *edge.Request, m P) R) handler {
	return on(func(b *Broker, q *edge.Request, m P, answer func(R)) { answer(f(b, q, m)) })
}

// reply encodes and sends an answer.
func reply(q *edge.Request, m response) {
	resp := q.Begin()
	resp.Buf = m.Append(resp.Buf, q.Version)
	q.Reply()
}

// malformed is why a connection is closed whose request cannot be decoded.
func malformed(q *edge.Request, err error) error {
	return fmt.Errorf("malformed request: api key %d version %d: %w", q.Key, q.Version, err)
}

// image is the metadata as it is now.
func (b *Broker) image() *metadata.Image { return b.quorum.Image() }

// text gives a pointer to s, or nil when it is empty, as Kafka leaves out empty messages.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// internalTopic tells Kafka's own topics: clients may read but not write them.
func internalTopic(name string) bool {
	return name == "__consumer_offsets" || name == "__transaction_state" || name == "__share_group_state"
}
