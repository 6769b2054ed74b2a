package wire

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// wide gives every outer array the given number of elements, with names of ten letters and inner arrays of the given
// length. What is optional is left out, which is the worst case for the ratio of memory to wire.
func wide(v reflect.Value, elements, inner int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("topic-1234")
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(make([]byte, 70)) // the smallest batch of records is about as long
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), elements, elements))
		for i := range elements {
			wide(v.Index(i), inner, inner)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); v.Type().Field(i).Name == "Name" && f.Kind() == reflect.Pointer {
				f.Set(reflect.New(f.Type().Elem()))
				wide(f.Elem(), 0, 0)
			} else {
				wide(f, elements, inner)
			}
		}
	}
}

func TestLargeRequestsAreWithinTheBound(t *testing.T) {
	// In these requests nobody leaves the inner arrays empty.
	filled := map[int16]bool{KeyFetch: true, KeyAlterClientQuotas: true, KeyStreamsGroupTopologyDescriptionUpdate: true}
	for _, elements := range []int{100, 2_000} {
		for i := range APIs {
			a := &APIs[i]
			for version := a.Min; version <= a.Max; version++ {
				for inner := range 3 {
					if inner == 0 && filled[a.Key] {
						continue
					}
					m := a.NewRequest()
					m.SetDefaults()
					wide(reflect.ValueOf(m).Elem(), elements, inner)
					b := m.Append(nil, version)
					r := NewReader(b)
					fresh := a.NewRequest()
					if fresh.Decode(r, version); r.Finish() != nil {
						t.Errorf("%s %d: %d elements of %d in %d bytes: %v", a.Name, version, elements, inner, len(b), r.Err())
					}
				}
			}
		}
	}
}

func produceRequest(transactional bool) *ProduceRequest {
	m := &ProduceRequest{}
	m.SetDefaults()
	if transactional {
		id := "payments-7"
		m.TransactionalID = &id
	}
	for i := range 4 {
		topic := ProduceRequestTopicProduceData{Name: fmt.Sprintf("topic-%d", i), TopicID: UUID{byte(i), 1}}
		for j := range 5 {
			topic.PartitionData = append(topic.PartitionData, ProduceRequestPartitionProduceData{
				Index: int32(j), Records: []byte(strings.Repeat("r", 100*j)),
			})
		}
		m.TopicData = append(m.TopicData, topic)
	}
	return m
}

func fetchRequest() *FetchRequest {
	m := &FetchRequest{}
	m.SetDefaults()
	for i := range 4 {
		topic := FetchRequestFetchTopic{Topic: fmt.Sprintf("topic-%d", i), TopicID: UUID{byte(i), 1}}
		for j := range 5 {
			p := FetchRequestFetchPartition{}
			p.SetDefaults()
			p.Partition, p.FetchOffset = int32(j), 77
			topic.Partitions = append(topic.Partitions, p)
		}
		m.Topics = append(m.Topics, topic)
		m.ForgottenTopicsData = append(m.ForgottenTopicsData, FetchRequestForgottenTopic{Topic: "old", Partitions: []int32{1, 2}})
	}
	return m
}

func TestPooledRequestsDecodeWithoutAllocation(t *testing.T) {
	for name, c := range map[string]struct{ in, pooled Message }{
		"produce":               {produceRequest(false), &ProduceRequest{}},
		"transactional produce": {produceRequest(true), &ProduceRequest{}},
		"fetch":                 {fetchRequest(), &FetchRequest{}},
	} {
		for version := c.in.MinVersion(); version <= c.in.MaxVersion(); version++ {
			b := c.in.Append(nil, version)
			r := NewReader(nil)
			r.AliasStrings = true
			allocs := testing.AllocsPerRun(20, func() {
				r.Reset(b)
				c.pooled.Decode(r, version)
				if r.Finish() != nil {
					t.Fatal(r.Err())
				}
			})
			if allocs != 0 {
				t.Errorf("%s %d: %v allocations", name, version, allocs)
			}
		}
	}
}

func TestRecordsAliasTheInput(t *testing.T) {
	b := produceRequest(false).Append(nil, 13)
	var m ProduceRequest
	r := NewReader(b)
	m.Decode(r, 13)
	records := m.TopicData[0].PartitionData[1].Records
	records[0] = 'R'
	if strings.Count(string(b), "Rr") != 1 {
		t.Error("records do not alias the input")
	}
	if cap(records) != len(records) {
		t.Error("appending to the records would overwrite what follows them")
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	m := fetchResponse(3, 4)
	b := make([]byte, 0, 64<<10)
	size := func(topic, partition int) int { return 100 }
	var cuts int
	cut := func(topic, partition, at int) { cuts++ }
	if n := testing.AllocsPerRun(10, func() {
		m.Append(b, 17)
		m.AppendParts(b, 17, size, cut)
		AppendResponseHeader(b, KeyFetch, 17, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func fetchResponse(topics, partitions int) *FetchResponse {
	m := &FetchResponse{}
	m.SetDefaults()
	for i := range topics {
		topic := FetchResponseFetchableTopicResponse{Topic: fmt.Sprintf("topic-%d", i), TopicID: UUID{byte(i), 1}}
		for j := range partitions {
			p := FetchResponsePartitionData{}
			p.SetDefaults()
			p.PartitionIndex = int32(j)
			p.Records = []byte(strings.Repeat("r", 100*i*j))
			topic.Partitions = append(topic.Partitions, p)
		}
		m.Responses = append(m.Responses, topic)
	}
	return m
}

func BenchmarkDecodeProduce(b *testing.B) {
	in := produceRequest(false).Append(nil, 13)
	r := NewReader(nil)
	r.AliasStrings = true
	var m ProduceRequest
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(in)
		m.Decode(r, 13)
	}
}

func BenchmarkDecodeFetch(b *testing.B) {
	in := fetchRequest().Append(nil, 17)
	r := NewReader(nil)
	r.AliasStrings = true
	var m FetchRequest
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(in)
		m.Decode(r, 17)
	}
}

func BenchmarkAppendFetch(b *testing.B) {
	m := fetchResponse(4, 5)
	out := make([]byte, 0, 64<<10)
	size := func(topic, partition int) int { return 100 }
	cut := func(topic, partition, at int) {}
	b.ReportAllocs()
	for b.Loop() {
		m.AppendParts(out, 17, size, cut)
	}
}
