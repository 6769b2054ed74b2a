package partition

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Topic is a topic's partitions on this node, by index; a missing one is nil.
type Topic struct {
	Name       string
	ID         wire.UUID
	Partitions []*Partition
}

// Partition gives the partition with the index, or nil.
func (t *Topic) Partition(index int32) *Partition {
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[index]
}

// Options are what a Table needs.
type Options struct {
	NodeID int32
	// Stores are the online data directories, in the order of log.dirs.
	Stores []*commitlog.Store
	// MetadataTopic is the one log that no topic owns.
	MetadataTopic string
	// Broker gives the settings that topics inherit.
	Broker func() *config.BrokerConfig
	Logger *slog.Logger
	// World runs the moves between directories.
	World clock.World
	// Moved is told of a partition that has moved to another directory; nil tells nobody.
	Moved func(*Partition)
}

// Table finds the partitions of this node and follows the metadata.
type Table struct {
	o Options

	mu     sync.RWMutex // guards the maps; a Topic in them is never changed but replaced
	byName map[string]*Topic
	byID   map[wire.UUID]*Topic

	moves moves
}

// NewTable makes an empty table; Load fills it.
func NewTable(o Options) *Table {
	return &Table{o: o, byName: make(map[string]*Topic), byID: make(map[wire.UUID]*Topic)}
}

// ByName finds a topic, or nil.
func (t *Table) ByName(name string) *Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

// ByID finds a topic, or nil.
func (t *Table) ByID(id wire.UUID) *Topic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// Each calls f with every partition, in no order.
func (t *Table) Each(f func(*Partition)) {
	t.mu.RLock()
	topics := make([]*Topic, 0, len(t.byName))
	for _, topic := range t.byName {
		topics = append(topics, topic)
	}
	t.mu.RUnlock()
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			if p != nil {
				f(p)
			}
		}
	}
}

// Load brings the table to the image at start: a log that no topic of the
// image owns is set aside as Kafka does (`-stray`), so that it is in nobody's
// way, and each partition placed on this node gets its log, made empty if it is
// missing.
func (t *Table) Load(img *metadata.Image) error {
	t.dropFutures()
	errs := []error{t.setStraysAside(img)}
	for topic := range img.Topics() {
		errs = append(errs, t.apply(img, topic))
	}
	return errors.Join(errs...)
}

// setStraysAside renames the directories that belong to no partition of this
// node. One without a topic id is left alone: whose it is cannot be told.
func (t *Table) setStraysAside(img *metadata.Image) error {
	var errs []error
	for _, s := range t.o.Stores {
		for _, l := range s.Logs() {
			if l.Topic() == t.o.MetadataTopic || l.TopicID() == wire.ZeroUUID || s.Failed() != nil || t.placedHere(img, l) {
				continue
			}
			t.o.Logger.Warn("a log directory belongs to no topic of this cluster and is set aside: remove it when nobody misses it",
				"topic", l.Topic(), "partition", l.Partition(), "dir", s.Dir())
			if err := s.Stray(l); err != nil {
				errs = append(errs, fmt.Errorf("setting %s-%d aside: %w", l.Topic(), l.Partition(), err))
			}
		}
	}
	return errors.Join(errs...)
}

// placedHere tells whether the image has a replica of the log's partition on this node.
func (t *Table) placedHere(img *metadata.Image, l *commitlog.Log) bool {
	topic, ok := img.TopicByID(l.TopicID())
	index := int(l.Partition())
	return ok && topic.Name == l.Topic() && index < len(topic.Partitions) &&
		slices.Contains(topic.Partitions[index].Replicas, t.o.NodeID)
}

// Apply follows one change of the metadata. Failures of single partitions are
// logged: the others go on.
func (t *Table) Apply(img *metadata.Image, d *metadata.Delta) {
	for _, c := range d.Topics() {
		if c.After == nil {
			t.delete(c.Before.ID)
		} else if err := t.apply(img, c.After); err != nil {
			t.o.Logger.Error("a partition could not follow the metadata", "topic", c.After.Name, "error", err)
		}
	}
	for _, r := range d.Configs() {
		switch r.Type {
		case metadata.BrokerResource:
			t.Reconfigure(img)
			return
		case metadata.TopicResource:
			t.configure(img, r.Name)
		}
	}
}

// Reconfigure gives every topic its settings again, after a change of those of the broker.
func (t *Table) Reconfigure(img *metadata.Image) {
	for topic := range img.Topics() {
		t.configure(img, topic.Name)
	}
}

// apply makes the table hold what the image says of one topic.
func (t *Table) apply(img *metadata.Image, topic *metadata.Topic) error {
	cfg, err := t.topicConfig(img, topic.Name)
	if err != nil {
		return err
	}
	next := &Topic{Name: topic.Name, ID: topic.ID, Partitions: make([]*Partition, len(topic.Partitions))}
	old := t.ByID(topic.ID)
	var errs []error
	for i := range topic.Partitions {
		placed := topic.Partitions[i]
		if !slices.Contains(placed.Replicas, t.o.NodeID) {
			continue
		}
		p := old.Partition(int32(i))
		if p == nil {
			l, err := t.open(topic, int32(i), cfg)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			p = newPartition(topic.Name, topic.ID, int32(i), l)
			p.config.Store(cfg)
		}
		p.leaderEpoch.Store(placed.LeaderEpoch)
		next.Partitions[i] = p
	}
	t.mu.Lock()
	t.byName[topic.Name], t.byID[topic.ID] = next, next
	t.mu.Unlock()
	return errors.Join(errs...)
}

// open finds the partition's log in one of the data directories, or makes it.
func (t *Table) open(topic *metadata.Topic, index int32, cfg *config.TopicConfig) (*commitlog.Log, error) {
	l, err := t.held(topic, index)
	if l == nil && err == nil {
		return t.create(topic, index, cfg)
	}
	if err == nil {
		l.SetConfig(t.logConfig(cfg))
	}
	return l, err
}

func (t *Table) delete(id wire.UUID) {
	t.mu.Lock()
	topic := t.byID[id]
	if topic != nil {
		delete(t.byID, id)
		if t.byName[topic.Name] == topic {
			delete(t.byName, topic.Name)
		}
	}
	t.mu.Unlock()
	if topic == nil {
		return
	}
	for _, p := range topic.Partitions {
		if p == nil {
			continue
		}
		p.close()
		t.moves.stop(p)
		t.storeOf(p.Log()).Delete(p.Log())
	}
}

// Directory is the data directory that holds the partition.
func (t *Table) Directory(p *Partition) string { return t.storeOf(p.Log()).Dir() }

// storeOf is the data directory that holds a log.
func (t *Table) storeOf(l *commitlog.Log) *commitlog.Store {
	for _, s := range t.o.Stores {
		if held, ok := s.Log(l.Topic(), l.Partition()); ok && held == l {
			return s
		}
	}
	invariant.Check(false, "no data directory holds %s-%d", l.Topic(), l.Partition())
	return nil
}

func (t *Table) topicConfig(img *metadata.Image, name string) (*config.TopicConfig, error) {
	return config.ResolveTopic(t.o.Broker(), img.Config(metadata.Resource{Type: metadata.TopicResource, Name: name}))
}

func (t *Table) configure(img *metadata.Image, name string) {
	cfg, err := t.topicConfig(img, name)
	if err != nil {
		t.o.Logger.Error("a topic's settings cannot be used; the former ones stay", "topic", name, "error", err)
		return
	}
	topic := t.ByName(name)
	if topic == nil {
		return
	}
	for _, p := range topic.Partitions {
		if p != nil {
			p.config.Store(cfg)
			p.Log().SetConfig(t.logConfig(cfg))
		}
	}
}

// logConfig is what of a topic's settings, and of the broker's, concerns its logs. Where the log takes
// 0 for "the default", an explicit 0 becomes the smallest value that means the same.
//
// Without storage elsewhere, local.retention.ms and local.retention.bytes have no meaning, as in Kafka: all there is is local, and
// retention.ms and retention.bytes count.
func (t *Table) logConfig(c *config.TopicConfig) commitlog.LogConfig {
	l := commitlog.LogConfig{
		SegmentBytes:       int64(c.SegmentBytes),
		SegmentMs:          c.SegmentMs,
		IndexBytes:         c.SegmentIndexBytes,
		IndexIntervalBytes: max(int64(c.IndexIntervalBytes), 1),
		RetentionBytes:     orOne(c.RetentionBytes),
		RetentionMs:        orOne(c.RetentionMs),
		Delete:             c.Delete,
		Compact:            c.Compact,
		FileDeleteDelayMs:  orOne(c.FileDeleteDelayMs),
		Written:            c.AckDurability == config.AckWritten,
		ProducerExpiryMs:   t.o.Broker().GetLong("producer.id.expiration.ms"),
		SegmentJitterMs:    c.SegmentJitterMs,
		MinCleanableRatio:  max(c.MinCleanableDirtyRatio, math.SmallestNonzeroFloat64),
		MinCompactionLagMs: c.MinCompactionLagMs,
		MaxCompactionLagMs: c.MaxCompactionLagMs,
		DeleteRetentionMs:  orOne(c.DeleteRetentionMs),
	}
	if !c.Delete && !c.Compact {
		l.RetentionBytes, l.RetentionMs = -1, -1 // an empty cleanup.policy keeps everything
	}
	return l
}

func orOne(v int64) int64 {
	if v == 0 {
		return 1
	}
	return v
}
