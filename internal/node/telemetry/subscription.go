package telemetry

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
)

// Defaults of a subscription (KIP-714).
const (
	defaultIntervalMs = 300_000
	everything        = "*" // the metrics of a subscription that wants all
)

// Client is what a subscription selects clients by.
type Client struct {
	ID, SoftwareName, SoftwareVersion string
	Address, Port                     string
}

// property gives a client's property by the name that patterns use.
func (c *Client) property(name string, instance wire.UUID) string {
	switch name {
	case "client_instance_id":
		return instance.String()
	case "client_id":
		return c.ID
	case "client_software_name":
		return c.SoftwareName
	case "client_software_version":
		return c.SoftwareVersion
	case "client_source_address":
		return c.Address
	default:
		return c.Port
	}
}

// subscription is one client metrics resource.
type subscription struct {
	metrics    []string
	intervalMs int32
	match      []pattern
}

type pattern struct {
	property   string
	expression *regexp.Regexp
}

// newSubscription reads a resource's settings, which were checked when they were made; a pattern that does not
// compile matches nobody.
func newSubscription(values map[string]string) subscription {
	s := subscription{metrics: config.ParseList(values["metrics"]), intervalMs: defaultIntervalMs}
	var different []string
	if n, err := strconv.ParseInt(strings.TrimSpace(values["interval.ms"]), 10, 32); err == nil {
		s.intervalMs = int32(n)
	}
	for _, m := range s.metrics {
		if !slices.Contains(different, m) {
			different = append(different, m)
		}
	}
	s.metrics = inJavasOrder(different, len(s.metrics)*4/3+1)
	for _, text := range config.ParseList(values["match"]) {
		property, expression, _ := strings.Cut(text, "=")
		re, err := regexp.Compile("^(?:" + strings.TrimSpace(expression) + ")$")
		if err != nil {
			re = regexp.MustCompile(`[^\s\S]`)
		}
		s.match = append(s.match, pattern{strings.TrimSpace(property), re})
	}
	return s
}

func (s *subscription) matches(c *Client, instance wire.UUID) bool {
	for _, p := range s.match {
		if !p.expression.MatchString(c.property(p.property, instance)) {
			return false
		}
	}
	return true
}

// wanted is what all subscriptions that match a client come to, and its id.
func wanted(all []subscription, c *Client, instance wire.UUID) (metrics []string, intervalMs, id int32) {
	intervalMs = defaultIntervalMs
	for i := range all {
		s := &all[i]
		if !s.matches(c, instance) {
			continue
		}
		for _, m := range s.metrics {
			if !slices.Contains(metrics, m) {
				metrics = append(metrics, m)
			}
		}
		intervalMs = min(intervalMs, s.intervalMs)
	}
	if slices.Contains(metrics, everything) {
		metrics = []string{everything}
	}
	metrics = inJavasOrder(metrics, 0)
	return metrics, intervalMs, subscriptionID(metrics, intervalMs, instance)
}

// subscriptionID is Kafka's: the CRC-32C of the metrics and the interval as Java prints them, mixed with the
// client's instance id, so that a client that moves between Kafka and us keeps its subscription.
func subscriptionID(metrics []string, intervalMs int32, instance wire.UUID) int32 {
	text := "[" + strings.Join(metrics, ", ") + "]" + strconv.Itoa(int(intervalMs))
	crc := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	mixed := binary.BigEndian.Uint64(instance[:8]) ^ binary.BigEndian.Uint64(instance[8:])
	return int32(crc ^ uint32(mixed>>32) ^ uint32(mixed))
}

// inJavasOrder gives different texts in the order in which a HashSet of Java gives them when they were put into it
// one after the other, which is the order that the id is made from. least is the size of the set's table at first.
func inJavasOrder(texts []string, least int) []string {
	const fullBucket, mostForFull = 8, 64 // a bucket with more makes a table that is smaller than this grow
	buckets := make([][]string, max(16, 1<<bits.Len(uint(least-1))))
	place := func(s string) int {
		var h uint32
		for _, c := range utf16.Encode([]rune(s)) {
			h = 31*h + uint32(c)
		}
		return int(h^h>>16) & (len(buckets) - 1)
	}
	grow := func() {
		old := buckets
		buckets = make([][]string, 2*len(old))
		for _, b := range old {
			for _, s := range b {
				buckets[place(s)] = append(buckets[place(s)], s)
			}
		}
	}
	for i, s := range texts {
		at := place(s)
		buckets[at] = append(buckets[at], s)
		if len(buckets[at]) > fullBucket && len(buckets) < mostForFull {
			grow()
		}
		if (i+1)*4 > len(buckets)*3 {
			grow()
		}
	}
	return slices.Concat(buckets...)
}
