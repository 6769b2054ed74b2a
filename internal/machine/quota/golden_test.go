package quota_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/quota"
)

// golden plays the lines of testdata/golden.txt, which Kafka's own classes wrote (testdata/Golden.java).
type golden struct {
	t      *testing.T
	line   int
	kind   string
	window quota.Window
	bound  float64
	now    int64
	sensor *quota.Sensor
	limits *quota.Limits
}

// names are those that the generator's indices stand for.
var names = []string{"", "", "ann", "CN=b,O=x y", "<default>"}

func TestKafkaDecidesAlike(t *testing.T) {
	f, err := os.Open("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	g := &golden{t: t}
	s := bufio.NewScanner(f)
	for s.Scan() {
		g.line++
		g.play(s.Text())
	}
	if s.Err() != nil || g.line < 6000 {
		t.Fatal(g.line, s.Err())
	}
}

func (g *golden) scan(text, format string, into ...any) {
	g.t.Helper()
	if n, err := fmt.Sscanf(text, format, into...); err != nil || n != len(into) {
		g.t.Fatalf("line %d: %q: %v", g.line, text, err)
	}
}

func (g *golden) play(text string) {
	switch word, _, _ := strings.Cut(text, " "); word {
	case "rate", "bucket":
		var seconds int64
		g.scan(text, word+" %d %d %f", &g.window.Samples, &seconds, &g.bound)
		g.kind, g.window.Ms, g.now, g.sensor = word, seconds*1000, 1_700_000_000_000, &quota.Sensor{}
	case "limits":
		g.kind, g.limits = word, quota.NewLimits(g.quotas(text))
	default:
		if g.kind == "limits" {
			g.level(text)
		} else {
			g.use(text)
		}
	}
}

// use records something and compares the delay.
func (g *golden) use(text string) {
	var step, want, got int64
	var value float64
	var mode, gotMode string
	g.scan(text, "%d %f %s %d", &step, &value, &mode, &want)
	g.now += step
	gotMode = mode
	switch mode {
	case "free":
		g.sensor.Record(g.window, value, g.now)
	case "check":
		got = g.sensor.Use(g.window, g.bound, value, g.now)
	case "permissive":
		got = g.sensor.Take(g.window, g.bound, value, g.now)
	default:
		var ok bool
		if got, ok = g.sensor.TakeStrict(g.window, g.bound, value, g.now); ok {
			gotMode = "strict"
		} else {
			gotMode = "refused"
		}
	}
	if got != want || mode != gotMode {
		g.t.Fatalf("line %d: %q: have %s %d", g.line, text, gotMode, got)
	}
}

// quotas makes the entities of a line of limits.
func (g *golden) quotas(text string) []*metadata.Quota {
	last := map[string]*metadata.Quota{}
	var order []*metadata.Quota
	for _, word := range strings.Fields(text)[1:] {
		var user, client int
		var bound float64
		g.scan(word, "%d/%d=%f", &user, &client, &bound)
		q := &metadata.Quota{Values: map[string]float64{"consumer_byte_rate": bound}}
		for kind, at := range map[string]int{"user": user, "client-id": client} {
			e := wire.ClientQuotaRecordEntityData{EntityType: kind, EntityName: &names[at]}
			if at == 1 {
				e.EntityName = nil
			}
			if at > 0 {
				q.Entity = append(q.Entity, e)
			}
		}
		key, _, _ := strings.Cut(word, "=")
		if old := last[key]; old != nil {
			old.Values = q.Values
			continue
		}
		last[key] = q
		order = append(order, q)
	}
	return order
}

// level compares which limit holds for a user and a client id, and with whom it is shared.
func (g *golden) level(text string) {
	var user, client int
	var bound float64
	var shared string
	g.scan(text, "%d %d %f", &user, &client, &bound)
	shared = strings.SplitN(text, " ", 4)[3]
	who, have, ok := g.limits.Find(quota.Fetch, names[user], names[client])
	got, gotBound := "-", -1.0
	if ok {
		got, gotBound = fmt.Sprintf("[%s] [%s]", quota.Sanitize(who.User), who.Client), have
	}
	if got != shared || gotBound != bound {
		g.t.Fatalf("line %d: %q: have %v %s", g.line, text, gotBound, got)
	}
}
