package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// span is a range of versions, both ends included. It is empty if low is above high.
type span struct{ low, high int }

var never = span{0, -1}

// parseSpan reads "none", "3", "3+" and "3-5".
func parseSpan(s string) (span, error) {
	if s == "" || s == "none" {
		return never, nil
	}
	low, high, isRange := strings.Cut(s, "-")
	if open, ok := strings.CutSuffix(s, "+"); ok {
		low, high, isRange = open, strconv.Itoa(math.MaxInt16), true
	}
	if !isRange {
		high = low
	}
	l, err := strconv.Atoi(low)
	if err != nil {
		return never, fmt.Errorf("version range %q: %w", s, err)
	}
	h, err := strconv.Atoi(high)
	if err != nil {
		return never, fmt.Errorf("version range %q: %w", s, err)
	}
	return span{l, h}, nil
}

func (s span) empty() bool           { return s.low > s.high }
func (s span) contains(v int) bool   { return s.low <= v && v <= s.high }
func (s span) covers(t span) bool    { return t.empty() || s.low <= t.low && s.high >= t.high }
func (s span) intersect(t span) span { return span{max(s.low, t.low), min(s.high, t.high)} }

// UnmarshalJSON implements json.Unmarshaler.
func (s *span) UnmarshalJSON(b []byte) error {
	var text string
	err := json.Unmarshal(b, &text)
	if err == nil {
		*s, err = parseSpan(text)
	}
	return err
}

// message is one specification file.
type message struct {
	Name           string
	Type           string // request, response, metadata, remote, coordinator-key, coordinator-value, data or header
	APIKey         int    `json:"apiKey"`
	Listeners      []string
	ValidVersions  span
	Flexible       span `json:"flexibleVersions"`
	LatestUnstable bool `json:"latestVersionUnstable"`
	Fields         []*field
	Common         []*field `json:"commonStructs"`

	root    *structure
	structs []*structure // root first, then in the order of appearance
}

// field is one field of a message or of a struct in it. A common struct has the same form.
type field struct {
	Name     string
	Type     string
	Versions *span
	Nullable *span           `json:"nullableVersions"`
	Tagged   *span           `json:"taggedVersions"`
	Own      *span           `json:"flexibleVersions"` // only in headers, which are not generated
	Default  json.RawMessage `json:"default"`
	Tag      int
	Fields   []*field

	goName  string
	element string // Type without the brackets
	array   bool
	sub     *structure // if the element is a struct
	initial string     // the default as text; "null" for null, "" for the default of the type
}

// structure is one Go struct.
type structure struct {
	message *message
	goName  string
	span    span // versions in which it can appear
	fields  []*field

	needsIsDefault bool
}

// stripComments takes out what follows // outside of strings, which JSON does not know.
func stripComments(in []byte) []byte {
	out := make([]byte, 0, len(in))
	quoted := false
	for i := 0; i < len(in); i++ {
		switch {
		case quoted && in[i] == '\\':
			out = append(out, in[i])
			i++
		case in[i] == '"':
			quoted = !quoted
		case !quoted && in[i] == '/' && i+1 < len(in) && in[i+1] == '/':
			for i < len(in) && in[i] != '\n' {
				i++
			}
		}
		if i < len(in) {
			out = append(out, in[i])
		}
	}
	return out
}

// parse reads one specification file and resolves names, types and version ranges.
func parse(data []byte) (*message, error) {
	m := &message{ValidVersions: never, Flexible: never}
	if err := json.Unmarshal(stripComments(data), m); err != nil {
		return nil, err
	}
	if m.Type == "header" || m.ValidVersions.empty() {
		return m, nil
	}
	m.root = &structure{message: m, goName: m.Name, span: m.ValidVersions}
	m.structs = []*structure{m.root}
	known := map[string]*structure{}
	for _, c := range m.Common {
		st := &structure{message: m, goName: nestedName(m.Name, c.Name), span: c.Versions.intersect(m.ValidVersions)}
		known[c.Name] = st
		m.structs = append(m.structs, st)
	}
	for _, c := range m.Common {
		if err := m.resolve(known[c.Name], c.Fields, known); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return m, m.resolve(m.root, m.Fields, known)
}

// resolve fills st with the fields that some version of it has.
func (m *message) resolve(st *structure, fields []*field, known map[string]*structure) error {
	for _, f := range fields {
		if err := f.settle(); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		if f.Versions.intersect(st.span).empty() {
			continue
		}
		*f.Nullable = f.Nullable.intersect(*f.Versions).intersect(st.span)
		st.fields = append(st.fields, f)
		if _, ok := scalars[f.element]; ok {
			continue
		}
		if f.sub = known[f.element]; f.sub == nil {
			f.sub = &structure{message: m, goName: nestedName(m.Name, f.element), span: f.Versions.intersect(st.span)}
			known[f.element] = f.sub
			m.structs = append(m.structs, f.sub)
			if err := m.resolve(f.sub, f.Fields, known); err != nil {
				return fmt.Errorf("%s: %w", f.element, err)
			}
		}
		f.sub.needsIsDefault = f.sub.needsIsDefault || !f.array && !f.Tagged.empty()
	}
	return nil
}

// settle completes what the specification leaves out.
func (f *field) settle() error {
	for _, s := range []**span{&f.Nullable, &f.Tagged} {
		if *s == nil {
			*s = &span{0, -1}
		}
	}
	if f.Versions == nil {
		f.Versions = f.Tagged
	}
	if !f.Tagged.empty() && (*f.Tagged != *f.Versions || f.Tag > 127) {
		return fmt.Errorf("a field that is tagged in some versions only, or with a tag above 127, is not supported")
	}
	f.element, f.array = strings.CutPrefix(f.Type, "[]")
	f.goName = goName(f.Name)
	var text string
	if json.Unmarshal(f.Default, &text) != nil {
		text = string(f.Default)
	}
	// The word null in quotes is the null default; a bare null is as if there were no default.
	if string(f.Default) == "null" {
		text = ""
	}
	f.initial = text
	return nil
}

// isCode says whether the field holds an error code.
func (f *field) isCode() bool {
	return f.Type == "int16" && strings.HasSuffix(f.goName, "ErrorCode")
}

// canBeNull says whether any version allows null.
func (f *field) canBeNull() bool { return !f.Nullable.empty() }

// smallest returns the least number of bytes that st takes in any version, but 1 at least.
func (st *structure) smallest() int {
	least := math.MaxInt
	for v := st.span.low; v <= st.span.high; v++ {
		least = min(least, st.smallestIn(v))
	}
	return max(least, 1)
}

func (st *structure) smallestIn(version int) int {
	flexible := st.message.Flexible.contains(version)
	size := 0
	if flexible {
		size = 1
	}
	for _, f := range st.fields {
		if !f.Versions.contains(version) || !f.Tagged.empty() {
			continue
		}
		length := 4
		if flexible {
			length = 1
		} else if f.element == "string" && !f.array {
			length = 2
		}
		switch s := scalars[f.element]; {
		case f.sub != nil && !f.array && f.canBeNull():
			size++
		case f.sub != nil && !f.array:
			size += f.sub.smallestIn(version)
		case f.array || s.size == 0:
			size += length
		default:
			size += s.size
		}
	}
	return size
}
