package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// limit sets a client quota; user and client are the entity, nil for a part it does not have, "" for the default.
func (r *rig) limit(key string, value float64, user, client *string) {
	r.t.Helper()
	m := &wire.AlterClientQuotasRequest{}
	e := wire.AlterClientQuotasRequestEntryData{Ops: []wire.AlterClientQuotasRequestOpData{{Key: key, Value: value, Remove: value == 0}}}
	for kind, name := range map[string]*string{"user": user, "client-id": client} {
		if name == nil {
			continue
		}
		if *name == "" {
			name = nil
		}
		e.Entity = append(e.Entity, wire.AlterClientQuotasRequestEntityData{EntityType: kind, EntityName: name})
	}
	m.Entries = append(m.Entries, e)
	resp := &wire.AlterClientQuotasResponse{}
	r.call(m, 1, resp)
	if code := resp.Entries[0].ErrorCode; code != wire.None {
		r.t.Fatal(code)
	}
}

// muted tells how long the rig's connection serves nothing.
func (r *rig) muted() time.Duration {
	r.t.Helper()
	began := r.hand.Mono()
	r.call(&wire.ApiVersionsRequest{}, 0, &wire.ApiVersionsResponse{})
	return r.hand.Mono() - began
}

var everybody = ""

func TestProduceQuota(t *testing.T) {
	r := newRig(t)
	r.create("t", 1)
	user := "ANONYMOUS"
	r.limit("producer_byte_rate", 1000, &user, nil)
	big := func(acks int16) *wire.ProduceRequest {
		return produceRequest(acks, "t", 0, batch(noProducer, strings.Repeat("x", 60)))
	}
	resp := &wire.ProduceResponse{}
	r.call(big(-1), 9, resp)
	if resp.ThrottleTimeMs != 0 || r.muted() != 0 {
		t.Fatal(resp.ThrottleTimeMs, "after one small request")
	}
	total := 0
	for resp.ThrottleTimeMs == 0 && total < 1000 {
		r.call(big(-1), 9, resp)
		total++
	}
	// 1000 bytes a second over ten seconds, the requests being some 170 bytes.
	if total < 50 || total > 80 {
		t.Fatal("throttled after", total)
	}
	if got, want := r.muted(), time.Duration(resp.ThrottleTimeMs)*time.Millisecond; got != want || want == 0 {
		t.Fatal("muted for", got, "said", want)
	}
	// Without an answer there is nowhere to say it, but the connection is quiet all the same.
	var at time.Duration
	for range 20 {
		r.send(big(0), 9, &wire.ProduceResponse{})
		if at = r.muted(); at > 0 {
			break
		}
	}
	if at == 0 {
		t.Fatal("acks=0 was never muted")
	}
	r.limit("producer_byte_rate", 0, &user, nil)
	for range 100 {
		if r.call(big(-1), 9, resp); resp.ThrottleTimeMs != 0 {
			t.Fatal("throttled without a quota")
		}
	}
}

func TestFetchQuota(t *testing.T) {
	r := newRig(t)
	r.create("t", 1)
	for range 20 {
		r.produce("t", 0)
	}
	client := ""
	r.limit("consumer_byte_rate", 200, nil, &client)
	// A client id that is not there falls under no limit of client ids.
	free := fetchAll()
	resp := &wire.FetchResponse{}
	for range 20 {
		if r.call(free, 12, resp); resp.ThrottleTimeMs != 0 {
			t.Fatal("a client without an id is throttled")
		}
	}
	r.limit("consumer_byte_rate", 200, &everybody, nil)
	total := 0
	for ; resp.ThrottleTimeMs == 0 && total < 100; total++ {
		r.call(free, 12, resp)
	}
	if total < 2 || total > 10 || resp.ErrorCode != wire.None || len(resp.Responses) != 0 || resp.SessionID != 0 {
		t.Fatalf("after %d: %+v", total, resp)
	}
	said := time.Duration(resp.ThrottleTimeMs) * time.Millisecond
	if got := r.muted(); got != said {
		t.Fatal(got, said)
	}
	r.hand.Advance(12 * time.Second) // the window is over
	if r.call(free, 12, resp); resp.ThrottleTimeMs != 0 || len(resp.Responses) == 0 {
		t.Fatalf("%+v", resp)
	}
}

// fetchAll fetches a topic's first partition from its beginning, with a session.
func fetchAll() *wire.FetchRequest {
	m := &wire.FetchRequest{}
	m.SetDefaults()
	m.MaxBytes, m.SessionEpoch = 1<<20, 0
	p := wire.FetchRequestFetchPartition{}
	p.SetDefaults()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
	m.Topics = []wire.FetchRequestFetchTopic{{Topic: "t", Partitions: []wire.FetchRequestFetchPartition{p}}}
	return m
}

func TestMutationQuota(t *testing.T) {
	r := newRig(t)
	r.limit("controller_mutation_rate", 1, &everybody, nil)
	create := func(version int16, names ...string) *wire.CreateTopicsResponse {
		m := &wire.CreateTopicsRequest{}
		m.SetDefaults()
		for _, name := range names {
			topic := wire.CreateTopicsRequestCreatableTopic{}
			topic.SetDefaults()
			topic.Name, topic.NumPartitions, topic.ReplicationFactor = name, 10, 1
			m.Topics = append(m.Topics, topic)
		}
		resp := &wire.CreateTopicsResponse{}
		r.call(m, version, resp)
		return resp
	}
	codes := func(resp *wire.CreateTopicsResponse) (out []wire.Code) {
		for i := range resp.Topics {
			out = append(out, resp.Topics[i].ErrorCode)
		}
		return out
	}
	// The bucket has 11 tokens: the second topic may still overdraw it, the third is refused.
	resp := create(7, "a", "b", "c")
	if got := codes(resp); got[0] != wire.None || got[1] != wire.None || got[2] != wire.ThrottlingQuotaExceeded {
		t.Fatal(got)
	}
	if resp.ThrottleTimeMs != 9000 || resp.Topics[2].ErrorMessage == nil || *resp.Topics[2].ErrorMessage != "The throttling quota has been exceeded." {
		t.Fatalf("%+v", resp)
	}
	if got := r.muted(); got != 9*time.Second {
		t.Fatal(got)
	}
	// An older client's request is carried out, and the client muted.
	resp = create(5, "d", "e")
	if got := codes(resp); got[0] != wire.None || got[1] != wire.None || resp.ThrottleTimeMs != 20_000 {
		t.Fatal(got, resp.ThrottleTimeMs)
	}
	if got := r.muted(); got != 20*time.Second {
		t.Fatal(got)
	}
	r.limit("controller_mutation_rate", 0, &everybody, nil)
	if resp = create(7, "f", "g", "h", "i"); resp.ThrottleTimeMs != 0 {
		t.Fatal(resp.ThrottleTimeMs)
	}
}
