package quorum

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

func TestSnapshotsAreMadeAndOldOnesGo(t *testing.T) {
	w := clock.NewHand(1)
	sim := vfs.NewSim(vfs.SimConfig{})
	c := brokerConfig(t, "metadata.log.max.record.bytes.between.snapshots", "20000", "metadata.max.retention.bytes", "60000",
		"metadata.log.segment.bytes", "8388608")
	p, err := start(t, sim.Mount(), w, c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		p.ask(create(fmt.Sprint("t", i), 40))
		w.Run()
	}
	files, err := listSnapshots(p.fs, p.q.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 || files[0].end == 0 || len(files) > 5 {
		t.Errorf("snapshots: %+v", files)
	}
	last := files[len(files)-1]
	image, l, err := readSnapshot(p.fs, "data/__cluster_metadata-0/"+last.name(), last.snapshotID)
	if err != nil || image.Offset() != last.end-1 || l.kraftVersion != 1 || len(l.voters) != 1 {
		t.Fatalf("snapshot %s: %v, %+v", last.name(), err, l)
	}
	if p.q.log.Start() != files[0].end {
		t.Errorf("the log begins at %d, the oldest snapshot ends at %d", p.q.log.Start(), files[0].end)
	}
	want := describe(p.q.Image())
	w.Kill()
	sim.Crash()
	again, err := open(t, sim.Mount(), clock.NewHand(2), c)
	if err != nil {
		t.Fatal(err)
	}
	if describe(again.q.Image()) != want {
		t.Error("the image after the crash is another")
	}
}

func TestSnapshotEachHour(t *testing.T) {
	w := clock.NewHand(1)
	p, err := start(t, vfs.NewSim(vfs.SimConfig{}).Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	count := func() int {
		files, err := listSnapshots(p.fs, p.q.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	w.Advance(2 * time.Hour)
	if count() != 2 {
		t.Errorf("%d snapshots, one of the format and one of the first hour are expected", count())
	}
	w.Advance(5 * time.Hour)
	if count() != 2 {
		t.Errorf("%d snapshots though nothing was written", count())
	}
}

func TestDamagedSnapshotIsPassedOver(t *testing.T) {
	sim := mountKafka(t)
	if err := sim.FlipBit("data/__cluster_metadata-0/"+kafkaSnapshot, 400); err != nil {
		t.Fatal(err)
	}
	p, err := open(t, sim.Mount(), clock.NewHand(1), brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.q.Image().Topic("orders"); !ok {
		t.Error("the log was not replayed from its beginning")
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	w := clock.NewHand(1)
	sim := vfs.NewSim(vfs.SimConfig{})
	p, err := start(t, sim.Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	p.ask(create("before", 1))
	end := p.q.LogEnd()
	remove := sim.Inject(vfs.Fault{Ops: vfs.OpWrite, Err: vfs.ErrNoSpace})
	if _, err := p.try(create("refused", 1)); !errors.Is(err, commitlog.ErrNoSpace) {
		t.Fatalf("on a full disk: %v", err)
	}
	remove()
	w.Advance(time.Minute)
	if p.failed != nil || p.q.LogEnd() != end {
		t.Errorf("failed with %v, the log ends at %d", p.failed, p.q.LogEnd())
	}
	r := p.ask(create("refused", 1)).(*wire.CreateTopicsResponse)
	if r.Topics[0].ErrorCode != wire.None {
		t.Errorf("after the disk has space again: %s", r.Topics[0].ErrorCode)
	}
	if p.q.Image().TopicCount() != 2 {
		t.Errorf("%d topics", p.q.Image().TopicCount())
	}
}

func TestFullDiskStopsTheStart(t *testing.T) {
	w := clock.NewHand(1)
	sim := vfs.NewSim(vfs.SimConfig{})
	p, err := open(t, sim.Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	var calls []error
	sim.Inject(vfs.Fault{Path: "*journal*", Ops: vfs.OpWrite | vfs.OpPreallocate | vfs.OpCreate, Err: vfs.ErrNoSpace})
	sim.Inject(vfs.Fault{Path: "*.log", Ops: vfs.OpWrite, Err: vfs.ErrNoSpace})
	p.q.Start(func(err error) { calls = append(calls, err) })
	w.Advance(time.Minute)
	if len(calls) != 1 || !errors.Is(calls[0], commitlog.ErrNoSpace) {
		t.Errorf("Start ended with %v", calls)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	fs, world, dir := vfs.NewOS(), &clock.Real{}, t.TempDir()
	c := brokerConfig(t)
	o := formatOptions(fs, world)
	o.MetadataDir, o.Dirs = dir, []string{dir}
	id, err := Format(o)
	if err != nil {
		t.Fatal(err)
	}
	store, err := commitlog.Open(commitlog.StoreOptions{FS: fs, Dir: dir, World: world, JournalFileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(Options{
		Store: store, FS: fs, World: world, Config: c, Identity: id, LogDirs: []string{dir}, PreviousBrokerEpoch: -1,
		Listeners: []Endpoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}},
	})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(-2)
	q.Subscribe(func(i *metadata.Image, _ *metadata.Delta) {
		if i.Offset() <= last {
			t.Errorf("image %d after %d", i.Offset(), last)
		}
		last = i.Offset()
	})
	ready := make(chan error)
	q.Start(func(err error) { ready <- err })
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	const askers, each = 8, 25
	errs := make(chan error)
	for a := range askers {
		world.Go("asker", func() {
			for n := range each {
				name := fmt.Sprintf("t%d-%d", a, n)
				answer := make(chan error)
				q.Propose(create(name, 1), func(_ any, err error) {
					if _, ok := q.Image().Topic(name); err == nil && !ok {
						err = fmt.Errorf("%s is answered before it is published", name)
					}
					answer <- err
				})
				errs <- <-answer
			}
		})
	}
	for range askers * each {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan error)
	world.Go("close", func() { q.Close(func(err error) { world.Go("closed", func() { closed <- err }) }) })
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := store.CloseClean(q.BrokerEpoch()); err != nil {
		t.Fatal(err)
	}
	if q.Image().TopicCount() != askers*each {
		t.Errorf("%d topics", q.Image().TopicCount())
	}
	world.Wait()
}

func TestFailedDiskIsFinal(t *testing.T) {
	w := clock.NewHand(1)
	sim := vfs.NewSim(vfs.SimConfig{})
	p, err := start(t, sim.Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	sim.Inject(vfs.Fault{Ops: vfs.OpSync, Err: errors.New("medium error")})
	if _, err := p.try(create("a", 1)); err == nil {
		t.Fatal("a topic was created on a failed disk")
	}
	if p.failed == nil {
		t.Error("nobody was told")
	}
	if _, err := p.try(create("b", 1)); err == nil || p.q.Image().TopicCount() != 0 {
		t.Error("the quorum goes on")
	}
}

func TestRequestsInFlightShareABatchAndKeepTheirOrder(t *testing.T) {
	w := clock.NewHand(1)
	p, err := start(t, vfs.NewSim(vfs.SimConfig{}).Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	seen := 0
	p.q.subscribers = append(p.q.subscribers, func(i *metadata.Image, d *metadata.Delta) {
		for _, c := range d.Topics() {
			events = append(events, "+"+c.After.Name)
		}
		seen++
	})
	begin := p.q.LogEnd()
	for _, name := range []string{"a", "b", "a", "c"} {
		p.q.Propose(create(name, 1), func(reply any, err error) {
			code := reply.(*wire.CreateTopicsResponse).Topics[0].ErrorCode
			events = append(events, fmt.Sprint(name, " ", int16(code)))
		})
	}
	if len(events) != 0 {
		t.Errorf("answered before anything is committed: %v", events)
	}
	w.Run()
	want := []string{"+a", "a 0", "+b", "+c", "b 0", "a 36", "c 0"}
	if !slices.Equal(events, want) {
		t.Errorf("events %v, want %v", events, want)
	}
	if p.q.LogEnd() != begin+6 || seen != 3 {
		t.Errorf("the log grew from %d to %d, %d images", begin, p.q.LogEnd(), seen)
	}
}

func TestClosedQuorumAnswers(t *testing.T) {
	w := clock.NewHand(1)
	p, err := start(t, vfs.NewSim(vfs.SimConfig{}).Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := p.try(create("a", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if !p.q.Image().Broker(1).Fenced {
		t.Error("the broker is not fenced")
	}
}
