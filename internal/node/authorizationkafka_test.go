package node_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// kafka is a Kafka that the matrix is asked of.
type kafka struct {
	t         *testing.T
	run       string // makes names differ from those of earlier runs
	addresses map[string]string
	conns     map[string]net.Conn
	next      int32
}

func newKafka(t *testing.T, addresses string) *kafka {
	broker, controller, _ := strings.Cut(addresses, ",")
	return &kafka{
		t: t, run: fmt.Sprintf("k%d-", time.Now().UnixNano()/1e6%1e8), conns: map[string]net.Conn{},
		addresses: map[string]string{"BROKER": broker, "CONTROLLER": controller},
	}
}

func (k *kafka) call(who, listener string, m wire.Message, version int16, into wire.Message) error {
	id := who + "@" + listener
	if k.conns[id] == nil {
		c, err := net.Dial("tcp", k.addresses[listener])
		if err != nil {
			k.t.Fatal(err)
		}
		k.t.Cleanup(func() { c.Close() })
		k.conns[id] = c
		if err := login(who, func(m wire.Message, version int16, into wire.Message) error { return k.roundTrip(c, m, version, into) }); err != nil {
			k.t.Fatal(err)
		}
	}
	err := k.roundTrip(k.conns[id], m, version, into)
	if err != nil && err != edge.ErrNoAnswer {
		k.conns[id] = nil
	}
	return err
}

func (k *kafka) roundTrip(c net.Conn, m wire.Message, version int16, into wire.Message) error {
	k.next++
	h := wire.RequestHeader{APIKey: m.APIKey(), APIVersion: version, CorrelationID: k.next}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(wire.AppendRequestFrame(nil, &h, m)); err != nil {
		return err
	}
	if p, ok := m.(*wire.ProduceRequest); ok && p.Acks == 0 {
		if err := k.roundTrip(c, &wire.ApiVersionsRequest{}, 0, &wire.ApiVersionsResponse{}); err != nil {
			return err
		}
		return edge.ErrNoAnswer
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	r := wire.NewReader(b)
	if _, err := wire.DecodeResponseHeader(r, m.APIKey(), version); err != nil {
		return err
	}
	into.Decode(r, version)
	return r.Finish()
}

// deny replaces alice's rules, and waits until broker and controller follow them.
func (k *kafka) deny(rights []right) {
	principal := "User:alice"
	del := &wire.DeleteAclsRequest{Filters: []wire.DeleteAclsRequestDeleteAclsFilter{{
		ResourceTypeFilter: 1, PatternTypeFilter: 1, PrincipalFilter: &principal, Operation: 1, PermissionType: 1,
	}}}
	k.must(k.call("admin", "BROKER", del, 3, &wire.DeleteAclsResponse{}))
	create := &wire.CreateAclsRequest{}
	all := rules(rights)
	for _, r := range all {
		create.Creations = append(create.Creations, wire.CreateAclsRequestAclCreation{
			ResourceType: int8(r.Type), ResourceName: r.Name, ResourcePatternType: int8(r.Pattern), Principal: r.Principal, Host: r.Host,
			Operation: int8(r.Operation), PermissionType: int8(r.Permission),
		})
	}
	made := &wire.CreateAclsResponse{}
	k.must(k.call("admin", "BROKER", create, 3, made))
	for _, r := range made.Results {
		if r.ErrorCode != wire.None {
			k.t.Fatal(r.ErrorCode)
		}
	}
	for _, listener := range []string{"BROKER", "CONTROLLER"} {
		for range 100_000 {
			resp := &wire.DescribeAclsResponse{}
			k.must(k.call("admin", listener, &wire.DescribeAclsRequest{
				ResourceTypeFilter: 1, PatternTypeFilter: 1, PrincipalFilter: &principal, Operation: 1, PermissionType: 1,
			}, 3, resp))
			n, denied := 0, 0
			for i := range resp.Resources {
				for _, a := range resp.Resources[i].Acls {
					n++
					if a.PermissionType == 2 {
						denied++
					}
				}
			}
			if n == len(all) && denied == len(rights) && k.current(resp, rights) {
				break
			}
		}
	}
}

// current says whether the rules described deny what they shall.
func (k *kafka) current(resp *wire.DescribeAclsResponse, rights []right) bool {
	for _, want := range rights {
		found := false
		for i := range resp.Resources {
			if resp.Resources[i].ResourceName == want.name {
				found = true
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (k *kafka) idle() { <-time.After(2 * time.Millisecond) }

func (k *kafka) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}
