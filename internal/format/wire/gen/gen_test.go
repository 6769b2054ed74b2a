package main

import (
	"slices"
	"testing"
)

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]span{"none": never, "": never, "3": {3, 3}, "3+": {3, 32767}, "3-5": {3, 5}} {
		if got, err := parseSpan(text); got != want || err != nil {
			t.Errorf("%q: got %v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"a", "1-b", "+"} {
		if _, err := parseSpan(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"TopicId": "TopicID", "GroupInstanceId": "GroupInstanceID", "ApiKeys": "APIKeys", "NewIsrWithEpochs": "NewISRWithEpochs",
		"offset": "Offset", "commitTimestamp": "CommitTimestamp", "KRaftVersion": "KRaftVersion", "BrokerIds": "BrokerIDs",
		"V3AndBelowTopics": "V3AndBelowTopics",
	} {
		if got := goName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := nestedName("FetchRequest", "FetchTopic"); got != "FetchRequestFetchTopic" {
		t.Error(got)
	}
	if got := nestedName("MetadataRequest", "MetadataRequestTopic"); got != "MetadataRequestTopic" {
		t.Error(got)
	}
	if got := fileName("KRaftVersionRecord"); got != "zz_generated_k_raft_version_record.go" {
		t.Error(got)
	}
}

func TestStripComments(t *testing.T) {
	in := "// head\n{ \"a\": \"x // y\\\" // z\" } // tail"
	if got := string(stripComments([]byte(in))); got != "\n{ \"a\": \"x // y\\\" // z\" } " {
		t.Errorf("got %q", got)
	}
}

func TestConditions(t *testing.T) {
	within := span{2, 8}
	for _, c := range []struct {
		s    span
		want string
	}{
		{span{0, 32767}, "true"}, {never, "false"}, {span{9, 32767}, "false"}, {span{5, 32767}, "version >= 5"},
		{span{0, 4}, "version <= 4"}, {span{3, 4}, "version >= 3 && version <= 4"}, {span{8, 32767}, "version == 8"},
	} {
		if got := condition(c.s, within); got != c.want {
			t.Errorf("%v: got %s, want %s", c.s, got, c.want)
		}
	}
}

const sample = `
// A license.
{
  "apiKey": 7, "type": "request", "name": "SampleRequest", "listeners": ["broker"],
  "validVersions": "1-3", "flexibleVersions": "2+",
  "fields": [
    { "name": "Old", "type": "int32", "versions": "0" },
    { "name": "Name", "type": "string", "versions": "1+", "nullableVersions": "2+", "default": "null" },
    { "name": "Extra", "type": "Extra", "taggedVersions": "2+", "tag": 0, "default": null, "fields": [
      { "name": "Level", "type": "int16", "versions": "2+", "default": "-1" }
    ]}
  ]
}`

func TestParse(t *testing.T) {
	m, err := parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range m.root.fields {
		names = append(names, f.goName+" "+f.goType())
	}
	if want := []string{"Name *string", "Extra SampleRequestExtra"}; !slices.Equal(names, want) {
		t.Errorf("fields are %q, want %q", names, want)
	}
	if extra := m.structs[1]; extra.span != (span{2, 3}) || extra.smallest() != 3 || !extra.needsIsDefault {
		t.Errorf("the inner struct is %+v", extra)
	}
	if got := m.root.smallestIn(1); got != 2 {
		t.Errorf("version 1 takes at least %d bytes", got)
	}
	if _, err := emitMessage(m); err != nil {
		t.Error(err)
	}
}
