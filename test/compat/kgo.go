package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// franz-go's own tests need a broker at KGO_SEEDS. They run here as they are in the module that the Go clients use.
const (
	kgoPackage = "github.com/twmb/franz-go/pkg/kgo"
	kgoLimit   = 5 * time.Minute
	kgoRecords = "100000" // of KGO_TEST_RECORDS: what the chains of groups pass on; the tests' own number is 500,000
)

// kgoLeftOut are tests that are not run, with the reason.
var kgoLeftOut = map[string]string{
	"TestSCRAMAuth":               "needs a listener with SASL",
	"TestSCRAMAuthBadCredentials": "needs a listener with SASL",
}

// kgoEvent is a line of `go tool test2json`.
type kgoEvent struct{ Action, Test, Output string }

// kgoPart runs the tests against Moldau, and notes each that failed or was skipped.
func (s *suite) kgoPart(ctx context.Context) error {
	b, err := s.broker(moldauName, "kgo")
	if err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	out, err := s.kgoTests(ctx, b.addr)
	if failed := os.WriteFile(filepath.Join(s.work, "kgo.out"), out, 0o644); failed != nil {
		return failed
	}
	passed, failed := s.kgoVerdicts(out)
	if err != nil && failed == 0 {
		err = fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
	} else if failed > 0 {
		err = fmt.Errorf("%d failed", failed)
	}
	if err == nil && passed == 0 {
		err = errors.New("no test ran")
	}
	for name, why := range kgoLeftOut {
		s.report.note("kgo: "+name, result{"skip", why})
	}
	s.report.check(fmt.Sprintf("franz-go's own tests pass on moldau (%d of them)", passed), err)
	s.report.check("moldau stops in good order after franz-go's tests", b.stop())
	return nil
}

// kgoTests runs the compiled tests in the directory of their package, where they look for files.
func (s *suite) kgoTests(ctx context.Context, addr string) ([]byte, error) {
	dir := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", kgoPackage)
	dir.Dir = filepath.Join(s.source, "goclients")
	where, err := dir.Output()
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", kgoPackage, err)
	}
	var skip []string
	for name := range kgoLeftOut {
		skip = append(skip, "^"+name+"$")
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", filepath.Join(s.dir("kgo"), "kgo.test"), "-test.v=test2json",
		"-test.skip", strings.Join(skip, "|"), "-test.timeout", kgoLimit.String())
	cmd.Dir = strings.TrimSpace(string(where))
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+addr, "KGO_TEST_RF=1", "KGO_TEST_RECORDS="+kgoRecords, "KGO_LOG_LEVEL=none")
	return cmd.CombinedOutput()
}

// kgoSaid is what a test prints about its end: the line without the place.
var kgoSaid = regexp.MustCompile(`^\s+\w+\.go:\d+: (.*)`)

// kgoVerdicts notes the failures with the first line that the test printed, and the skipped tests with their reasons.
func (s *suite) kgoVerdicts(out []byte) (passed, failed int) {
	said := map[string]string{}
	for line := range bytes.Lines(out) {
		var e kgoEvent
		if json.Unmarshal(line, &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "output":
			if m := kgoSaid.FindStringSubmatch(e.Output); m != nil && said[e.Test] == "" && !strings.HasPrefix(m[1], "deleting topic") {
				said[e.Test] = m[1]
			}
		case "pass":
			if !strings.Contains(e.Test, "/") {
				passed++
			}
		case "fail":
			failed++
			s.report.note("kgo: "+e.Test, result{"fail", said[e.Test]})
		case "skip":
			s.report.note("kgo: "+e.Test, result{"skip", said[e.Test]})
		}
	}
	return passed, failed
}
