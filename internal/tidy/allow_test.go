package tidy

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// allowance is one entry of testdata/allow.txt.
type allowance struct {
	line int
	size int // 0: the entry is no size
	used bool
}

const allowFile = "testdata/allow.txt"

// readAllowances gives the entries by "kind key".
func readAllowances(t *testing.T) map[string]*allowance {
	t.Helper()
	f, err := os.Open(allowFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]*allowance{}
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		text := strings.TrimSpace(sc.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		entry, reason, _ := strings.Cut(text, " -- ")
		fields := strings.Fields(entry)
		a := &allowance{line: n}
		if len(fields) == 3 {
			a.size, err = strconv.Atoi(fields[2])
		}
		if len(fields) < 2 || len(fields) > 3 || err != nil || len(strings.Fields(reason)) < 3 {
			t.Errorf("%s:%d: write it as: kind thing [size] -- the reason, in words", allowFile, n)
			continue
		}
		if out[fields[0]+" "+fields[1]] != nil {
			t.Errorf("%s:%d: %s is there twice", allowFile, n, fields[1])
		}
		out[fields[0]+" "+fields[1]] = a
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// report fails for each finding without an allowance, and for each allowance of these kinds that is not needed any more.
func report(t *testing.T, found []finding, kinds ...string) {
	t.Helper()
	allowed := readAllowances(t)
	for _, f := range found {
		a := allowed[f.kind+" "+f.key]
		switch {
		case a == nil:
			t.Errorf("%s: %s", f.at, f.say)
		case f.size > a.size:
			a.used = true
			t.Errorf("%s: it has grown: %s:%d allows %d. %s", f.at, allowFile, a.line, a.size, f.say)
		default:
			a.used = true
		}
	}
	for key, a := range allowed {
		kind, thing, _ := strings.Cut(key, " ")
		for _, k := range kinds {
			if k == kind && !a.used {
				t.Errorf("%s:%d: %s keeps the rule now: delete the entry", allowFile, a.line, thing)
			}
		}
	}
}
