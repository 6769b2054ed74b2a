package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/raft"
)

// The metadata log's topic; it has one partition.
const (
	Topic        = "__cluster_metadata"
	logDirectory = Topic + "-0"
	stateFile    = "quorum-state"
)

// Bounds of what waits to be committed. A request beyond them is answered with ErrBusy.
const (
	maxQueuedRequests = 64 << 10
	maxQueuedBytes    = 64 << 20
)

// Errors that Propose gives to callbacks, beside those of the log.
var (
	// ErrClosed: the quorum was closed, or not started yet.
	ErrClosed = errors.New("the metadata quorum is not running")
	// ErrBusy: more requests wait for the disk than there is room for.
	ErrBusy = errors.New("too many metadata requests are waiting for the disk")
	// ErrTooLarge: what the request wants does not fit a batch.
	ErrTooLarge = errors.New("the request makes more metadata than one batch can hold (8 MiB): send it in parts")
)

// LogConfig is the configuration of the metadata log: never cleaned by time or size (snapshots do that), always synced.
func LogConfig(c *config.BrokerConfig) commitlog.LogConfig {
	return commitlog.LogConfig{
		SegmentBytes: c.GetLong("metadata.log.segment.bytes"), SegmentMs: c.GetLong("metadata.log.segment.ms"),
		RetentionBytes: -1, RetentionMs: -1, Delete: true,
	}
}

// Options are what a quorum runs on. All fields but Logger and OnFail are required.
type Options struct {
	// Store is that of the metadata directory.
	Store *commitlog.Store
	FS    vfs.FS
	World clock.World
	// Logger gets what operators should see; nil discards it.
	Logger *slog.Logger
	// Config is the static settings.
	Config *config.BrokerConfig
	// Identity is what Format gave.
	Identity *Identity
	// LogDirs are the broker's data directories.
	LogDirs []string
	// Listeners are the broker's advertised listeners, without the controllers'.
	Listeners []Endpoint
	// Controller are the controller's listeners.
	Controller []Endpoint
	// PreviousBrokerEpoch is what all data directories' clean shutdown files say, -1 if one says something else or nothing.
	PreviousBrokerEpoch int64
	// OnFail is called once when the metadata log failed: the node cannot go on.
	OnFail func(error)
}

// Quorum is the node's part in the metadata quorum. All methods may be called from any goroutine.
type Quorum struct {
	o           Options
	log         *commitlog.Log
	dir         string
	image       atomic.Pointer[metadata.Image] // committed
	brokerEpoch atomic.Int64
	highWater   atomic.Int64
	subscribers []func(*metadata.Image, *metadata.Delta)

	mu          sync.Mutex // guards what follows; never held across a callback or a write
	machine     *controller.Machine
	raft        *raft.Raft
	loaded      loaded
	next        int64 // the offset of the next record
	queue       []*proposal
	queuedBytes int
	inFlight    int    // so many at the head of queue are being appended
	busy        bool   // a goroutine is appending or publishing, and will look at queue again
	lead        []byte // the batch that begins the epoch, until it is appended
	append      commitlog.Append
	bootstrap   []wire.MetadataRecord // what the log of a new cluster begins with, until it is written
	running     bool
	err         error // why nothing can be proposed any more

	retention retention
}

// Open loads the metadata: the newest snapshot that is whole and the log above it. Start must be called next.
func Open(o Options) (*Quorum, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnFail == nil {
		o.OnFail = func(error) {}
	}
	q := &Quorum{o: o, dir: filepath.Join(o.Store.Dir(), logDirectory)}
	q.brokerEpoch.Store(-1)
	var ok bool
	if q.log, ok = o.Store.Log(Topic, 0); !ok {
		var err error
		if q.log, err = o.Store.Create(Topic, 0, wire.MetadataTopicID, LogConfig(o.Config)); err != nil {
			return nil, fmt.Errorf("creating the metadata log: %w", err)
		}
	}
	if err := q.load(); err != nil {
		return nil, err
	}
	election, err := q.readState()
	if err != nil {
		return nil, err
	}
	voters, err := q.voters()
	if err != nil {
		return nil, err
	}
	self := raft.Voter{ID: o.Identity.NodeID, Directory: o.Identity.Directories[o.Store.Dir()]}
	q.raft, err = raft.New(raft.Config{Self: self, Voters: voters}, election, q.machine.Image().Epoch(), q.log.Stable())
	if err != nil {
		return nil, fmt.Errorf("metadata log %s: %w", q.dir, err)
	}
	q.append.Done = q.appended
	q.append.Origin = commitlog.Coordinator
	return q, nil
}

// readState reads the quorum-state file; a new node has none.
func (q *Quorum) readState() (raft.Election, error) {
	path := filepath.Join(q.dir, stateFile)
	b, err := vfs.ReadFile(q.o.FS, path, raft.MaxStateBytes)
	if errors.Is(err, vfs.ErrNotExist) {
		return raft.Election{Leader: raft.NoNode, Voted: raft.NoNode}, nil
	}
	if err != nil {
		return raft.Election{}, fmt.Errorf("reading %s: %w", path, err)
	}
	e, err := raft.DecodeState(b)
	if err != nil {
		return raft.Election{}, fmt.Errorf("%s is damaged: %w; on a node that is the only voter it may be deleted", path, err)
	}
	return e, nil
}

// voters are those of the log under kraft.version 1, else those of the settings, else this node alone.
func (q *Quorum) voters() ([]raft.Voter, error) {
	var all []raft.Voter
	if q.loaded.kraftVersion >= 1 {
		for _, v := range q.loaded.voters {
			all = append(all, raft.Voter{ID: v.VoterID, Directory: v.VoterDirectoryID})
		}
		return all, nil
	}
	static, err := config.ParseVoters(q.o.Config.GetString("controller.quorum.voters"))
	if err != nil {
		return nil, fmt.Errorf("reading controller.quorum.voters: %w", err)
	}
	for _, v := range static {
		all = append(all, raft.Voter{ID: v.ID})
	}
	if all == nil {
		all = []raft.Voter{{ID: q.o.Identity.NodeID}}
	}
	return all, nil
}

// Subscribe adds a function that is told every committed change: first, from
// Start, the image as loaded with a nil delta, then each image with the delta that
// led to it, in order, one call at a time. Functions are called in the order
// of Subscribe, must not block and may call Propose. Only before Start.
func (q *Quorum) Subscribe(f func(*metadata.Image, *metadata.Delta)) {
	q.subscribers = append(q.subscribers, f)
}

// Image is the newest committed image.
func (q *Quorum) Image() *metadata.Image { return q.image.Load() }

// BrokerEpoch is that of this node's broker registration, -1 before it is committed.
func (q *Quorum) BrokerEpoch() int64 { return q.brokerEpoch.Load() }

// Leader is the active controller's id, raft.NoNode when there is none.
func (q *Quorum) Leader() int32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.raft.Leader()
}

// Epoch is the controller epoch.
func (q *Quorum) Epoch() int32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.raft.Epoch()
}

// HighWatermark is the offset below which the metadata log is committed.
func (q *Quorum) HighWatermark() int64 { return q.highWater.Load() }

// LogEnd is the offset of the next record of the metadata log.
func (q *Quorum) LogEnd() int64 { return q.log.End() }

// Voters are the voters with their endpoints, as the log has them; nil under kraft.version 0.
func (q *Quorum) Voters() []wire.VotersRecordVoter {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.loaded.voters
}

// KRaftVersion is the finalized kraft.version, which is not in the image.
func (q *Quorum) KRaftVersion() int16 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.loaded.kraftVersion
}
