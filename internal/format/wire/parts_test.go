package wire

import (
	"bytes"
	"fmt"
	"testing"
)

// splice puts records into what AppendParts wrote, at the positions that it told.
func splice(m PartsAppender, version int16, records func(topic, partition int) []byte) []byte {
	type hole struct{ topic, partition, at int }
	var holes []hole
	size := func(topic, partition int) int {
		if r := records(topic, partition); r != nil {
			return len(r)
		}
		return -1
	}
	b := m.AppendParts([]byte("before"), version, size, func(topic, partition, at int) {
		holes = append(holes, hole{topic, partition, at})
	})
	var out []byte
	from := len("before")
	for _, h := range holes {
		out = append(append(out, b[from:h.at]...), records(h.topic, h.partition)...)
		from = h.at
	}
	return append(out, b[from:]...)
}

func TestPartsAreTheWholeResponse(t *testing.T) {
	for seed := range uint64(fills) {
		f := newFiller(seed, int(seed%4))
		var fetch FetchResponse
		var share ShareFetchResponse
		var snapshot FetchSnapshotResponse
		f.fill(&fetch)
		f.fill(&share)
		f.fill(&snapshot)
		for _, c := range []struct {
			m       PartsAppender
			records func(topic, partition int) []byte
		}{
			{&fetch, func(i, j int) []byte { return fetch.Responses[i].Partitions[j].Records }},
			{&share, func(i, j int) []byte { return share.Responses[i].Partitions[j].Records }},
			{&snapshot, func(i, j int) []byte { return snapshot.Topics[i].Partitions[j].UnalignedRecords }},
		} {
			for version := c.m.MinVersion(); version <= c.m.MaxVersion(); version++ {
				t.Run(fmt.Sprintf("%d/%d/%d", c.m.APIKey(), version, seed), func(t *testing.T) {
					want := c.m.Append(nil, version)
					if got := splice(c.m, version, c.records); !bytes.Equal(got, want) {
						t.Errorf("got\n%x\nwant\n%x", got, want)
					}
				})
			}
		}
	}
}
