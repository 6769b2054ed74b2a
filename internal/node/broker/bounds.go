package broker

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
)

// Bounds of what one request may name. A frame of a few bytes for each thing that is named could ask for an answer of
// kilobytes for each.
const (
	// maxNamed bounds the groups, transactions, users or resources of one request.
	maxNamed = 20_000
	// maxNamedAgain bounds those that are named although they were named before.
	maxNamedAgain = 100
	// maxCoordinatorKeys bounds what FindCoordinator is asked for at once.
	maxCoordinatorKeys = 100_000
	// maxPatternBytes bounds a regular expression.
	maxPatternBytes = 16 << 10
)

// excess tells why a request asks for more than is answered; nil when it does not.
//
// Differs from Kafka: a request that asks for more than is answered at once is refused. Kafka builds any answer that is
// asked for, however large, and ends when the memory does.
func excess(m any) error {
	switch r := m.(type) {
	case *wire.FindCoordinatorRequest:
		if n := len(r.CoordinatorKeys); n > maxCoordinatorKeys {
			return fmt.Errorf("%d coordinators are asked for at once, and %d is the most: ask in parts", n, maxCoordinatorKeys)
		}
	case *wire.DescribeGroupsRequest:
		return named(len(r.Groups), func(i int) string { return r.Groups[i] })
	case *wire.ConsumerGroupDescribeRequest:
		return named(len(r.GroupIDs), func(i int) string { return r.GroupIDs[i] })
	case *wire.ShareGroupDescribeRequest:
		return named(len(r.GroupIDs), func(i int) string { return r.GroupIDs[i] })
	case *wire.StreamsGroupDescribeRequest:
		return named(len(r.GroupIDs), func(i int) string { return r.GroupIDs[i] })
	case *wire.OffsetFetchRequest:
		return named(len(r.Groups), func(i int) string { return r.Groups[i].GroupID })
	case *wire.DescribeShareGroupOffsetsRequest:
		return named(len(r.Groups), func(i int) string { return r.Groups[i].GroupID })
	case *wire.DescribeTransactionsRequest:
		return named(len(r.TransactionalIDs), func(i int) string { return r.TransactionalIDs[i] })
	case *wire.DescribeUserScramCredentialsRequest:
		return named(len(r.Users), func(i int) string { return r.Users[i].Name })
	case *wire.DescribeConfigsRequest:
		return named(len(r.Resources), func(i int) string {
			return string(rune('0'+r.Resources[i].ResourceType)) + r.Resources[i].ResourceName
		})
	case *wire.ConsumerGroupHeartbeatRequest:
		return pattern(r.SubscribedTopicRegex)
	case *wire.ListTransactionsRequest:
		return pattern(r.TransactionalIDPattern)
	}
	return nil
}

// named checks how many things a request names, and how often it repeats itself.
func named(n int, name func(int) string) error {
	if n > maxNamed {
		return fmt.Errorf("%d things are named in one request, and %d is the most: ask in parts", n, maxNamed)
	}
	if n <= maxNamedAgain {
		return nil
	}
	seen := make(map[string]struct{}, n)
	for i := range n {
		seen[name(i)] = struct{}{}
	}
	if again := n - len(seen); again > maxNamedAgain {
		return fmt.Errorf("a request names %d things that it has named before, and %d is the most", again, maxNamedAgain)
	}
	return nil
}

// pattern checks the length of a regular expression.
func pattern(text *string) error {
	if text != nil && len(*text) > maxPatternBytes {
		return fmt.Errorf("a regular expression has %d bytes, and %d is the most", len(*text), maxPatternBytes)
	}
	return nil
}
