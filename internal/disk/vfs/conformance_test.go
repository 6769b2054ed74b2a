package vfs

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestConformance runs each script on the machine's file system and on the
// simulated disk: both must answer what the script says.
func TestConformance(t *testing.T) {
	datadriven.Walk(t, "testdata/conformance", func(t *testing.T, path string) {
		for _, kind := range []struct {
			name string
			make func(t *testing.T) *actor
		}{
			{"os", func(t *testing.T) *actor { return newActor(NewOS(), t.TempDir()) }},
			{"sim512", func(*testing.T) *actor { return newActor(NewSim(SimConfig{Seed: 1}), "/") }},
			{"sim4k", func(*testing.T) *actor { return newActor(NewSim(SimConfig{SectorBytes: Sector4K}), "/") }},
		} {
			t.Run(kind.name, func(t *testing.T) {
				a := kind.make(t)
				datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
					return a.run(d.Input)
				})
			})
		}
	})
}

// TestSimScripts runs scripts with power cuts and faults. "new" starts on an
// empty disk; "outcomes" runs a whole script once for each of many seeds and tells
// which different trees a mixed power cut left ("everywhere": at each operation behind
// the dashes; "crash": the process was killed instead).
func TestSimScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/sim", func(t *testing.T, path string) {
		var a *actor
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			config := SimConfig{Seed: 1}
			d.MaybeScanArgs(t, "sector", &config.SectorBytes)
			switch d.Cmd {
			case "new":
				a = newActor(NewSim(config), "/")
				fallthrough
			case "run":
				return a.run(d.Input)
			case "outcomes":
				return outcomes(t, config, d)
			}
			d.Fatalf(t, "unknown directive %s", d.Cmd)
			return ""
		})
	})
}

func outcomes(t *testing.T, config SimConfig, d *datadriven.TestData) string {
	seeds := 400
	d.MaybeScanArgs(t, "seeds", &seeds)
	cuts := d.HasArg("everywhere")
	seen := map[string]bool{}
	for seed := range seeds {
		config.Seed = uint64(seed)
		s := NewSim(config)
		a := newActor(s, "/")
		before, after, _ := strings.Cut(d.Input, "---\n")
		a.run(before)
		if cuts {
			// The cut comes at each operation of the second part in turn, and behind it.
			probe := NewSim(config)
			p := newActor(probe, "/")
			p.run(before)
			first := probe.OpCount()
			p.run(after)
			s.CutAt(1 + int64(seed)%(probe.OpCount()-first+1))
		}
		a.run(after)
		if d.HasArg("crash") {
			s.Crash()
		} else {
			s.PowerCut(Mix)
		}
		seen[tree(s)] = true
	}
	return sortedLines(seen)
}
