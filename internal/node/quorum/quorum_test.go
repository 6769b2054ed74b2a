package quorum

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
)

const clusterID = "4L6g3nShT-eMCtK--X86sw"

// machine is one node's process on a simulated disk.
type process struct {
	t     *testing.T
	world *clock.Hand
	fs    vfs.FS
	store *commitlog.Store
	id    *Identity
	q     *Quorum
	// seen is what subscribers were told, failed what OnFail was.
	images []*metadata.Image
	failed error
}

func brokerConfig(t *testing.T, more ...string) *config.BrokerConfig {
	t.Helper()
	values := config.Values{"node.id": "1", "process.roles": "broker,controller", "log.dirs": "data"}
	for i := 0; i < len(more); i += 2 {
		values[more[i]] = more[i+1]
	}
	c, err := config.NewBroker(values)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func formatOptions(fs vfs.FS, w clock.World) FormatOptions {
	return FormatOptions{
		FS: fs, World: w, MetadataDir: "data", Dirs: []string{"data"}, NodeID: 1, ClusterID: clusterID,
		Voter: Endpoint{Name: "CONTROLLER", Host: "127.0.0.1", Port: 21001},
	}
}

// open formats if need be and opens store and quorum.
func open(t *testing.T, fs vfs.FS, w *clock.Hand, c *config.BrokerConfig) (*process, error) {
	t.Helper()
	p := &process{t: t, world: w, fs: fs}
	var err error
	if p.id, err = Format(formatOptions(fs, w)); err != nil {
		return nil, err
	}
	p.store, err = commitlog.Open(commitlog.StoreOptions{
		FS: fs, Dir: "data", World: w, JournalFileBytes: 1 << 20,
		Config: func(string, int32) commitlog.LogConfig { return LogConfig(c) },
	})
	if err != nil {
		return nil, err
	}
	previous := int64(-1)
	if r := p.store.Report(); r.Clean {
		previous = r.BrokerEpoch
	}
	p.q, err = Open(Options{
		Store: p.store, FS: fs, World: w, Config: c, Identity: p.id, LogDirs: []string{"data"},
		Listeners:           []Endpoint{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 21000}},
		Controller:          []Endpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 21001}},
		PreviousBrokerEpoch: previous,
		OnFail:              func(err error) { p.failed = err },
	})
	if err != nil {
		return nil, err
	}
	p.q.Subscribe(func(i *metadata.Image, _ *metadata.Delta) { p.images = append(p.images, i) })
	return p, nil
}

// start opens and starts.
func start(t *testing.T, fs vfs.FS, w *clock.Hand, c *config.BrokerConfig) (*process, error) {
	t.Helper()
	p, err := open(t, fs, w, c)
	if err != nil {
		return nil, err
	}
	result := fmt.Errorf("Start did not end")
	p.q.Start(func(err error) { result = err })
	w.Advance(time.Second)
	return p, result
}

func (p *process) ask(request any) any {
	p.t.Helper()
	reply, err := p.try(request)
	if err != nil {
		p.t.Fatalf("%T: %v", request, err)
	}
	return reply
}

func (p *process) try(request any) (reply any, err error) {
	err = fmt.Errorf("no answer")
	p.q.Propose(request, func(r any, e error) { reply, err = r, e })
	p.world.Run()
	return reply, err
}

func create(name string, partitions int32) *wire.CreateTopicsRequest {
	return &wire.CreateTopicsRequest{Topics: []wire.CreateTopicsRequestCreatableTopic{{
		Name: name, NumPartitions: partitions, ReplicationFactor: 1,
	}}}
}

func TestFirstStartMakesACluster(t *testing.T) {
	w := clock.NewHand(1)
	sim := vfs.NewSim(vfs.SimConfig{})
	p, err := start(t, sim, w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	img := p.q.Image()
	if img.MetadataVersion() != 30 || !img.Broker(1).Active() || p.q.BrokerEpoch() != img.Broker(1).BrokerEpoch {
		t.Errorf("metadata.version %d, broker %+v", img.MetadataVersion(), img.Broker(1))
	}
	if p.q.Leader() != 1 || p.q.Epoch() != 1 || p.q.HighWatermark() != p.q.LogEnd() || img.Offset() != p.q.LogEnd()-1 {
		t.Errorf("leader %d, epoch %d, high watermark %d, end %d", p.q.Leader(), p.q.Epoch(), p.q.HighWatermark(), p.q.LogEnd())
	}
	r := p.ask(create("a", 3)).(*wire.CreateTopicsResponse)
	if r.Topics[0].ErrorCode != wire.None {
		t.Fatalf("creating a topic: %s %v", r.Topics[0].ErrorCode, *r.Topics[0].ErrorMessage)
	}
	if a, ok := p.q.Image().Topic("a"); !ok || len(a.Partitions) != 3 || a.Partitions[0].Leader != 1 {
		t.Errorf("topic a is %+v", a)
	}
	if last := p.images[len(p.images)-1]; last != p.q.Image() {
		t.Error("subscribers were not told the last image")
	}
}

// stop ends a process cleanly.
func (p *process) stop() {
	p.t.Helper()
	result := fmt.Errorf("Close did not end")
	p.q.Close(func(err error) { result = err })
	p.world.Run()
	if result != nil {
		p.t.Fatal(result)
	}
	epoch := p.q.BrokerEpoch()
	if err := p.store.CloseClean(epoch); err != nil {
		p.t.Fatal(err)
	}
}

// describe is everything in an image but the offset.
func describe(i *metadata.Image) string {
	var s strings.Builder
	for rec := range i.Records() {
		fmt.Fprintf(&s, "%x\n", metadata.AppendRecord(nil, rec, i.MetadataVersion()))
	}
	return s.String()
}

func TestRestartKeepsEverything(t *testing.T) {
	for _, how := range []string{"clean stop", "kill -9", "power cut"} {
		t.Run(how, func(t *testing.T) {
			w := clock.NewHand(1)
			sim := vfs.NewSim(vfs.SimConfig{Seed: 1})
			c := brokerConfig(t)
			p, err := start(t, sim.Mount(), w, c)
			if err != nil {
				t.Fatal(err)
			}
			p.ask(create("a", 3))
			p.ask(create("b", 1))
			p.ask(&wire.DeleteTopicsRequest{TopicNames: []string{"b"}})
			epoch := p.q.BrokerEpoch()
			before := p.q.Image()
			switch how {
			case "clean stop":
				p.stop()
			case "kill -9":
				w.Kill()
				sim.Crash()
			case "power cut":
				w.Kill()
				sim.PowerCut(vfs.Lose)
			}
			w = clock.NewHand(2)
			p, err = start(t, sim.Mount(), w, c)
			if err != nil {
				t.Fatal(err)
			}
			now := p.q.Image()
			if p.q.Epoch() != 2 || p.q.BrokerEpoch() <= epoch {
				t.Errorf("epoch %d, broker epoch %d", p.q.Epoch(), p.q.BrokerEpoch())
			}
			a, _ := before.Topic("a")
			b, ok := now.Topic("a")
			if !ok || b.ID != a.ID || len(b.Partitions) != 3 || now.TopicCount() != 1 {
				t.Fatalf("topic a was %+v, is %+v", a, b)
			}
			if b.Partitions[0].Leader != 1 || !now.Broker(1).Active() {
				t.Errorf("partition %+v", b.Partitions[0])
			}
			p.ask(create("c", 1))
		})
	}
}

func TestFeaturesOfALaterReleaseStopTheStart(t *testing.T) {
	w := clock.NewHand(1)
	sim := vfs.NewSim(vfs.SimConfig{})
	p, err := start(t, sim.Mount(), w, brokerConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	p.q.propose(func(*controller.Context) (controller.Decision, error) {
		return controller.Decision{Records: []wire.MetadataRecord{
			&wire.FeatureLevelRecord{Name: "metadata.version", FeatureLevel: metadata.LatestVersion + 1},
			&wire.FeatureLevelRecord{Name: "new.version", FeatureLevel: 3},
		}}, nil
	}, func(_ any, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	w.Run()
	p.stop()
	_, err = start(t, sim.Mount(), clock.NewHand(2), brokerConfig(t))
	if want := "metadata.version 34, new.version 3"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %s", err, want)
	}
}

func TestForeignVoterStopsTheStart(t *testing.T) {
	sim := mountKafka(t)
	put(t, sim, "data/meta.properties", strings.Replace(meta, "K01WB", "L01WB", 1))
	_, err := open(t, sim.Mount(), clock.NewHand(1), brokerConfig(t))
	if err == nil || !strings.Contains(err.Error(), "the only voter of the metadata quorum is node 1 with directory") {
		t.Errorf("error %v", err)
	}
}
