package broker

import (
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

func TestExcess(t *testing.T) {
	names := func(n, distinct int) (out []string) {
		for i := range n {
			out = append(out, strconv.Itoa(i%distinct))
		}
		return out
	}
	long := strings.Repeat("a", maxPatternBytes)
	longer := long + "a"
	for _, c := range []struct {
		m    any
		want string
	}{
		{&wire.MetadataRequest{}, ""},
		{&wire.DescribeGroupsRequest{Groups: names(maxNamed, maxNamed)}, ""},
		{&wire.DescribeGroupsRequest{Groups: names(maxNamed+1, maxNamed+1)}, "ask in parts"},
		{&wire.ConsumerGroupDescribeRequest{GroupIDs: names(200, 100)}, ""},
		{&wire.ShareGroupDescribeRequest{GroupIDs: names(201, 100)}, "named before"},
		{&wire.StreamsGroupDescribeRequest{GroupIDs: names(300, 1)}, "named before"},
		{&wire.DescribeTransactionsRequest{TransactionalIDs: names(300, 1)}, "named before"},
		{&wire.OffsetFetchRequest{Groups: make([]wire.OffsetFetchRequestGroup, 300)}, "named before"},
		{&wire.DescribeShareGroupOffsetsRequest{Groups: make([]wire.DescribeShareGroupOffsetsRequestGroup, 300)}, "named before"},
		{&wire.DescribeUserScramCredentialsRequest{Users: make([]wire.DescribeUserScramCredentialsRequestUserName, 300)}, "named before"},
		{&wire.DescribeConfigsRequest{Resources: make([]wire.DescribeConfigsRequestDescribeConfigsResource, 300)}, "named before"},
		{&wire.FindCoordinatorRequest{CoordinatorKeys: names(maxCoordinatorKeys, 1)}, ""},
		{&wire.FindCoordinatorRequest{CoordinatorKeys: names(maxCoordinatorKeys+1, 1)}, "ask in parts"},
		{&wire.ConsumerGroupHeartbeatRequest{SubscribedTopicRegex: &long}, ""},
		{&wire.ConsumerGroupHeartbeatRequest{SubscribedTopicRegex: &longer}, "regular expression"},
		{&wire.ListTransactionsRequest{TransactionalIDPattern: &longer}, "regular expression"},
	} {
		err := excess(c.m)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: %v, want %q", c.m, err, c.want)
		}
	}
}
