package controller

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// entity reads "user:u1,client-id:!"; "!" is the default and "~" the empty name.
func entity(word string) []wire.AlterClientQuotasRequestEntityData {
	var all []wire.AlterClientQuotasRequestEntityData
	if word == "none" {
		return all
	}
	for part := range strings.SplitSeq(word, ",") {
		kind, name, _ := strings.Cut(part, ":")
		e := wire.AlterClientQuotasRequestEntityData{EntityType: kind}
		if name != "!" {
			name = strings.Trim(name, "~")
			e.EntityName = &name
		}
		all = append(all, e)
	}
	return all
}

func runQuotas(t *testing.T, c asker, lines []string, validateOnly bool) string {
	t.Helper()
	r := &wire.AlterClientQuotasRequest{ValidateOnly: validateOnly}
	for _, line := range lines {
		name, pairs := words(t, line)
		e := wire.AlterClientQuotasRequestEntryData{Entity: entity(name)}
		for _, p := range pairs {
			op := wire.AlterClientQuotasRequestOpData{Key: p[0], Remove: p[1] == "delete"}
			if !op.Remove {
				var err error
				if op.Value, err = strconv.ParseFloat(p[1], 64); err != nil {
					t.Fatal(err)
				}
			}
			e.Ops = append(e.Ops, op)
		}
		r.Entries = append(r.Entries, e)
	}
	reply := c.request(r).(*wire.AlterClientQuotasResponse)
	var out []string
	for _, e := range reply.Entries {
		var in []wire.AlterClientQuotasRequestEntityData
		for _, part := range e.Entity {
			in = append(in, wire.AlterClientQuotasRequestEntityData(part))
		}
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(entityText(in), "ClientQuotaEntity(entries={"), "})")+": "+said(e.ErrorCode, e.ErrorMessage))
	}
	return sorted(out)
}

func runScram(t *testing.T, c asker, lines []string) string {
	t.Helper()
	r := &wire.AlterUserScramCredentialsRequest{}
	for _, line := range lines {
		name, pairs := words(t, line[1:])
		name = strings.Trim(name, "~")
		mechanism, iterations, password := int8(1), int32(4096), "salted"
		for _, p := range pairs {
			switch p[0] {
			case "mechanism":
				mechanism = int8(number(t, p[1]))
			case "iterations":
				iterations = number(t, p[1])
			case "password":
				password = p[1]
			}
		}
		if line[0] == '-' {
			r.Deletions = append(r.Deletions, wire.AlterUserScramCredentialsRequestScramCredentialDeletion{Name: name, Mechanism: mechanism})
			continue
		}
		r.Upsertions = append(r.Upsertions, wire.AlterUserScramCredentialsRequestScramCredentialUpsertion{
			Name: name, Mechanism: mechanism, Iterations: iterations, Salt: []byte{1, 2, 3}, SaltedPassword: []byte(password),
		})
	}
	reply := c.request(r).(*wire.AlterUserScramCredentialsResponse)
	var out []string
	for _, u := range reply.Results {
		out = append(out, strconv.Quote(u.User)+": "+said(u.ErrorCode, u.ErrorMessage))
	}
	return sorted(out)
}

// showAdmin shows the quotas or the credentials of the image.
func (c *cluster) showAdmin(what string) string {
	img := c.machine.Image()
	var out []string
	switch what {
	case "quotas":
		for _, q := range img.Quotas() {
			for _, r := range q.Entity {
				name := "default"
				if r.EntityName != nil {
					name = *r.EntityName
				}
				out = append(out, fmt.Sprintf("%s %s %v", r.EntityType, name, q.Values))
			}
		}
	case "credentials":
		for _, s := range img.ScramCredentials() {
			out = append(out, fmt.Sprintf("%s %d iterations %d salt %x stored %x server %x", s.Name, s.Mechanism, s.Iterations, s.Salt, s.StoredKey, s.ServerKey))
		}
	}
	return strings.Join(out, "\n")
}

// assign tells the controller where a broker keeps replicas: lines of topic, partition and directory.
func (c *cluster) assign(t *testing.T, d *datadriven.TestData, id int32, epoch int64) string {
	t.Helper()
	r := &wire.AssignReplicasToDirsRequest{BrokerID: id, BrokerEpoch: epoch}
	for line := range strings.SplitSeq(d.Input, "\n") {
		name, pairs := words(t, line)
		topic := c.topicID(name)
		for _, p := range pairs {
			r.Directories = append(r.Directories, wire.AssignReplicasToDirsRequestDirectoryData{
				ID: wire.UUID{2, byte(number(t, p[1]))},
				Topics: []wire.AssignReplicasToDirsRequestTopicData{{
					TopicID: topic, Partitions: []wire.AssignReplicasToDirsRequestPartitionData{{PartitionIndex: number(t, p[0])}},
				}},
			})
		}
	}
	reply, records := c.ask(r)
	resp := reply.(*wire.AssignReplicasToDirsResponse)
	out := said(resp.ErrorCode, nil) + " " + names(records)
	for _, dir := range resp.Directories {
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				out += fmt.Sprintf("\n%d in %d: %s", p.PartitionIndex, dir.ID[1], said(p.ErrorCode, nil))
				if got, ok := c.machine.Image().TopicByID(topic.TopicID); ok && int(p.PartitionIndex) < len(got.Partitions) {
					out += fmt.Sprintf(", is in %d", got.Partitions[p.PartitionIndex].Directory(id)[1])
				}
			}
		}
	}
	return out
}

// TestCredentialsOfRFC7677 works the keys out of the salted password of the example in the RFC.
func TestCredentialsOfRFC7677(t *testing.T) {
	c := newCluster(t)
	// Hi("pencil", the salt, 4096) with SHA-256.
	salted := []byte{
		0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44, 0x19, 0x39,
		0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75, 0x13, 0xdc, 0x61, 0x5d,
	}
	c.ask(&wire.AlterUserScramCredentialsRequest{Upsertions: []wire.AlterUserScramCredentialsRequestScramCredentialUpsertion{
		{Name: "user", Mechanism: scramSHA256, Iterations: 4096, Salt: []byte("W22ZaJ0SNY7soEsUEjb6gQ=="), SaltedPassword: salted},
	}})
	got := c.machine.Image().ScramCredential(metadata.ScramKey{Mechanism: scramSHA256, Name: "user"})
	const stored, server = "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6", "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"
	if got == nil || fmt.Sprintf("%x", got.StoredKey) != stored || fmt.Sprintf("%x", got.ServerKey) != server {
		t.Errorf("%+v", got)
	}
}
