package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// port is a client's connection that carries one request at a time.
type port struct {
	rig  *Rig
	conn *edge.DirectConn
	// turn numbers the requests: an answer to an earlier one is not heard.
	turn int
	busy bool
	// lag, unless nil, is how long a request is under way; who waits for an answer longer than patience gives up, and
	// the next request goes by a new connection. What was given up still arrives.
	lag      func() time.Duration
	patience time.Duration
	arrived  time.Duration // when the last request of the connection does
}

// errPatience is what a client gets whose request was not answered in time.
var errPatience = errors.New("the client has waited long enough")

// ask sends a request, dialling when there is no connection. done is told once, unless the port was reset or hung up.
func (p *port) ask(m wire.Message, version int16, resp wire.Message, done func(err error)) {
	if p.conn == nil {
		p.conn = p.rig.dial()
	}
	p.turn++
	p.busy = true
	turn, key := p.turn, m.APIKey()
	answered := func(b []byte, err error) {
		if p.turn != turn {
			return
		}
		p.busy = false
		if err == nil {
			err = decode(b, key, version, resp)
		}
		done(err)
	}
	if p.lag == nil {
		p.rig.sendOn(p.conn, m, version, answered)
		return
	}
	p.askSlowly(m, version, answered)
	p.rig.hand.AfterFunc(p.patience, func() {
		if p.turn == turn && p.busy {
			p.reset()
			done(errPatience)
		}
	})
}

// askSlowly sends a request that is under way for a while, but not overtaken by another of its connection.
func (p *port) askSlowly(m wire.Message, version int16, answered func([]byte, error)) {
	conn, now := p.conn, p.rig.hand.Mono()
	if p.turn == 1 || p.arrived < now {
		p.arrived = now
	}
	p.arrived += p.lag()
	p.rig.hand.AfterFunc(p.arrived-now, func() { p.rig.sendOn(conn, m, version, answered) })
}

// reset forgets the connection: the node at its other end is gone.
func (p *port) reset() {
	p.turn++
	p.busy, p.conn, p.arrived = false, nil, 0
}

// hangUp closes the connection.
func (p *port) hangUp() {
	conn := p.conn
	p.reset()
	if conn != nil {
		conn.Close(errors.New("the client has gone"))
	}
}

// Set sets one of the node's settings for the boots to come.
func (r *Rig) Set(key, value string) {
	if r.own == nil {
		r.own = map[string]string{}
	}
	r.own[key] = value
}

// setAll sets several: key, value, key, value…
func (r *Rig) setAll(pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Set(pairs[i], pairs[i+1])
	}
}

// createTopic makes a topic with settings as pairs, and gives its id.
func (r *Rig) createTopic(name string, partitions int32, settings ...string) (wire.UUID, error) {
	topic := wire.CreateTopicsRequestCreatableTopic{}
	topic.SetDefaults()
	topic.Name, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(settings); i += 2 {
		topic.Configs = append(topic.Configs, wire.CreateTopicsRequestCreatableTopicConfig{Name: settings[i], Value: &settings[i+1]})
	}
	req := &wire.CreateTopicsRequest{TimeoutMs: 10_000, Topics: []wire.CreateTopicsRequestCreatableTopic{topic}}
	resp := &wire.CreateTopicsResponse{}
	if err := r.Call(req, 7, resp); err != nil {
		return wire.UUID{}, err
	}
	if code := resp.Topics[0].ErrorCode; code != wire.None {
		return wire.UUID{}, fmt.Errorf("creating %s: %w", name, code)
	}
	return resp.Topics[0].TopicID, nil
}

// alterTopic sets one of a topic's settings.
func (r *Rig) alterTopic(topic, key, value string) error {
	req := &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{
		ResourceType: 2, ResourceName: topic, Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, Value: &value}},
	}}}
	resp := &wire.IncrementalAlterConfigsResponse{}
	if err := r.Call(req, 1, resp); err != nil {
		return err
	}
	if code := resp.Responses[0].ErrorCode; code != wire.None {
		return fmt.Errorf("setting %s of %s: %w", key, topic, code)
	}
	return nil
}

// findCoordinator asks until there is a coordinator of the kind, which makes its topic.
func (r *Rig) findCoordinator(kind int8, key string) error {
	for range 100 {
		resp := &wire.FindCoordinatorResponse{}
		if err := r.Call(&wire.FindCoordinatorRequest{KeyType: kind, CoordinatorKeys: []string{key}}, 6, resp); err != nil {
			return err
		}
		if resp.Coordinators[0].ErrorCode == wire.None {
			return nil
		}
		r.hand.Advance(100 * time.Millisecond)
	}
	return fmt.Errorf("there is no coordinator for %q", key)
}

// cleanedUpTo is the sum of the offsets up to which logs have been compacted, as the checkpoint on the disk has it.
func (r *Rig) cleanedUpTo(topic string) int64 {
	b, err := vfs.ReadFile(r.disk, r.dirs+"/cleaner-offset-checkpoint", 1<<20)
	if err != nil {
		return 0
	}
	var sum int64
	for _, line := range strings.Split(string(b), "\n") {
		var name string
		var index int32
		var offset int64
		if n, err := fmt.Sscan(line, &name, &index, &offset); n == 3 && err == nil && name == topic {
			sum += offset
		}
	}
	return sum
}
