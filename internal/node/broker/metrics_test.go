package broker

import (
	"reflect"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

func TestErrorCodesOfEveryResponseAreFound(t *testing.T) {
	without := map[string]bool{}
	for i := range wire.APIs {
		api := &wire.APIs[i]
		if api.NewResponse == nil {
			continue
		}
		m := reflect.ValueOf(api.NewResponse()).Elem()
		w := codesIn(m.Type())
		if w == nil {
			without[api.Name] = true
			continue
		}
		w.walk(m, &codeCounter{figures: newFigures(), key: api.Key})
	}
	if len(without) > 0 {
		t.Errorf("no error code was found in the responses of %v", without)
	}
}

func TestErrorCodesAreCounted(t *testing.T) {
	resp := &wire.DeleteTopicsResponse{Responses: []wire.DeleteTopicsResponseDeletableTopicResult{
		{ErrorCode: wire.None}, {ErrorCode: wire.UnknownTopicOrPartition}, {ErrorCode: wire.UnknownTopicOrPartition}, {ErrorCode: wire.UnknownServerError}, {ErrorCode: 3000},
	}}
	f := newFigures()
	c := &codeCounter{figures: f, key: wire.KeyDeleteTopics}
	codesIn(reflect.TypeOf(*resp)).walk(reflect.ValueOf(resp).Elem(), c)
	counts := f.errors[wire.KeyDeleteTopics].Load()
	for code, want := range map[wire.Code]uint64{wire.UnknownTopicOrPartition: 2, wire.UnknownServerError: 1, greatestCode: 1} {
		if got := counts[code-leastCode].Load(); got != want {
			t.Errorf("%v is counted %d times, want %d", code, got, want)
		}
	}
	if c.nones != 1 {
		t.Errorf("%d without an error, want 1", c.nones)
	}
}

func TestCountedErrorCodesAreBounded(t *testing.T) {
	resp := &wire.DeleteTopicsResponse{Responses: make([]wire.DeleteTopicsResponseDeletableTopicResult, 3*maxCountedCodes)}
	c := &codeCounter{figures: newFigures(), key: wire.KeyDeleteTopics}
	codesIn(reflect.TypeOf(*resp)).walk(reflect.ValueOf(resp).Elem(), c)
	if c.seen != maxCountedCodes {
		t.Errorf("%d codes were looked at, want %d", c.seen, maxCountedCodes)
	}
}

func BenchmarkCountingCodes(b *testing.B) {
	resp := &wire.OffsetCommitResponse{Topics: []wire.OffsetCommitResponseTopic{{Partitions: make([]wire.OffsetCommitResponsePartition, 1)}}}
	w := codesIn(reflect.TypeOf(*resp))
	f := newFigures()
	for b.Loop() {
		c := codeCounter{figures: f, key: wire.KeyOffsetCommit}
		w.walk(reflect.ValueOf(resp).Elem(), &c)
	}
}
