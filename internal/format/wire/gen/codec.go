package main

import (
	"fmt"
	"strings"
)

// nullExpr is a Go expression that says whether null is allowed in the version.
func (f *field) nullExpr(st *structure) string {
	return condition(*f.Nullable, f.Versions.intersect(st.span))
}

// presence names the form of the mark before a struct that can be null, which is another one in tagged fields.
func (f *field) presence() string {
	if f.Tagged.empty() {
		return "present"
	}
	return "tagPresent"
}

// flexExpr is a Go expression that says whether the version is flexible.
func flexExpr(st *structure) string { return condition(st.message.Flexible, st.span) }

// method is the name of a codec method of a struct: exported for the whole message.
func method(st *structure, name string) string {
	if st == st.message.root {
		return strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

func (w *writer) decode(st *structure) {
	m := st.message
	if st == m.root {
		w.line("// Decode reads the message in the given version; r has the error.")
	}
	w.line("func (m *%s) %s(r *Reader, version int16) {", st.goName, method(st, "decode"))
	if st == m.root {
		flexible := -1
		if !m.Flexible.empty() {
			flexible = m.Flexible.low
		}
		w.line("r.begin(version, %d, %d, %d)", m.ValidVersions.low, m.ValidVersions.high, flexible)
	}
	tagged := 0
	for _, f := range st.fields {
		if !f.Tagged.empty() {
			tagged++
			w.setDefault(f)
			continue
		}
		cond := condition(*f.Versions, st.span)
		if cond == "true" {
			w.decodeField(st, f)
			continue
		}
		w.line("if %s {", cond)
		w.decodeField(st, f)
		w.line("} else {")
		w.setDefault(f)
		w.line("}")
	}
	w.when(st.message.Flexible, st.span, func() {
		if tagged == 0 {
			w.line("r.skipTags()")
			return
		}
		w.decodeTags(st)
	})
	w.line("}\n")
}

func (w *writer) decodeTags(st *structure) {
	w.line("for n := r.tags(); n > 0 && r.err == nil; n-- {")
	w.line("switch tag, end := r.tag(); {")
	for _, f := range st.fields {
		if f.Tagged.empty() {
			continue
		}
		cond := fmt.Sprintf("tag == %d", f.Tag)
		if c := condition(*f.Versions, st.span.intersect(st.message.Flexible)); c != "true" {
			cond += " && " + c
		}
		w.line("case %s:", cond)
		w.decodeField(st, f)
		w.line("r.closeTag(end)")
	}
	w.line("default:\nr.skipTag(end)\n}\n}")
}

func (w *writer) decodeField(st *structure, f *field) {
	name, null := "m."+f.goName, f.nullExpr(st)
	s := scalars[f.element]
	small := strings.ToLower(s.suffix[:min(1, len(s.suffix))]) + s.suffix[min(1, len(s.suffix)):]
	if f.element == "uuid" {
		small = "uuid"
	}
	switch {
	case f.sub != nil && f.array && null == "false":
		w.line("%s = resize(r, %s, r.count(%d, false))", name, name, f.sub.smallest())
		w.line("for i := range %s {\n%s[i].decode(r, version)\n}", name, name)
	case f.sub != nil && f.array:
		w.line("if n := r.count(%d, %s); n < 0 {\n%s = nil\n} else {", f.sub.smallest(), null, name)
		w.line("%s = resize(r, %s, n)", name, name)
		w.line("for i := range %s {\n%s[i].decode(r, version)\n}\n}", name, name)
	case f.sub != nil && null == "false":
		w.line("%s.decode(r, version)", name)
	case f.sub != nil:
		w.line("if r.%s() {\n%s = renew(r, %s)\n%s.decode(r, version)\n} else {\n%s = nil\n}", f.presence(), name, name, name, name)
	case f.array:
		w.line("%s = r.%ss(%s, %s)", name, small, name, null)
	case f.element == "string" && f.canBeNull():
		w.line("%s = r.optText(%s, %s)", name, name, null)
	case f.element == "string":
		w.line("%s = r.text()", name)
	case s.size == 0:
		w.line("%s = r.%s(%s)", name, small, null)
	case f.isCode():
		w.line("%s = Code(r.Int16())", name)
	default:
		w.line("%s = r.%s()", name, s.suffix)
	}
}

func (w *writer) append(st *structure) {
	if st == st.message.root {
		w.line("// Append appends the message in the given version to b.")
	}
	name := method(st, "append")
	split := st.records()
	if split < 0 || st.message.Type != "response" {
		w.appendPart(st, name, st.fields, true)
		return
	}
	// The records of a response can be left out of the buffer, so what stands around them is a function each.
	f := st.fields[split]
	w.line("func (m *%s) %s(b []byte, version int16) []byte {", st.goName, name)
	w.line("b = m.appendHead(b, version)")
	w.appendField(st, f, flexExpr(st))
	w.line("return m.appendTail(b, version)\n}\n")
	w.line("// appendHead appends what precedes %s.", f.goName)
	w.appendPart(st, "appendHead", st.fields[:split], false)
	w.line("// appendTail appends what follows %s.", f.goName)
	w.appendPart(st, "appendTail", st.fields[split+1:], true)
	if st == st.message.root {
		w.appendParts(st, f)
	}
}

// records returns the index of the field that holds records or leads to them, or -1.
func (st *structure) records() int {
	for i, f := range st.fields {
		if f.element == "records" || f.sub != nil && f.sub.records() >= 0 {
			return i
		}
	}
	return -1
}

// appendParts writes a function that leaves the records out of a response, which has them in partitions of topics.
func (w *writer) appendParts(st *structure, topics *field) {
	partitions := topics.sub.fields[topics.sub.records()]
	records := partitions.sub.fields[partitions.sub.records()]
	w.line("// AppendParts appends the response as Append does, but without records: size tells how long those of a partition are,")
	w.line("// and cut is called with the position in b at which they belong, if there are any. See parts.go.")
	w.line("func (m *%s) AppendParts(b []byte, version int16, size func(topic, partition int) int, cut func(topic, partition, at int)) []byte {", st.goName)
	flexible := flexExpr(st)
	w.line("b = m.appendHead(b, version)")
	w.line("b = appendCount(b, len(m.%s), false, %s)", topics.goName, flexible)
	w.line("for i := range m.%s {\nt := &m.%s[i]", topics.goName, topics.goName)
	w.line("b = t.appendHead(b, version)")
	w.line("b = appendCount(b, len(t.%s), false, %s)", partitions.goName, flexible)
	w.line("for j := range t.%s {\np, n := &t.%s[j], size(i, j)", partitions.goName, partitions.goName)
	w.line("b = p.appendHead(b, version)")
	isNull := "n < 0"
	if !records.canBeNull() {
		isNull = "false"
	}
	w.line("b = appendCount(b, max(n, 0), %s, %s)", isNull, flexible)
	w.line("if n > 0 {\ncut(i, j, len(b))\n}")
	w.line("b = p.appendTail(b, version)\n}")
	w.line("b = t.appendTail(b, version)\n}")
	w.line("return m.appendTail(b, version)\n}\n")
}

// appendPart writes a function that appends some fields; the tag section, with all tagged fields, if tags is true.
func (w *writer) appendPart(st *structure, name string, fields []*field, tags bool) {
	body := &writer{}
	flexible := flexExpr(st)
	if strings.HasPrefix(flexible, "version") {
		flexible = "flexible"
	}
	for _, f := range fields {
		if f.Tagged.empty() {
			body.when(*f.Versions, st.span, func() { body.appendField(st, f, flexible) })
		}
	}
	if tags && flexible == "true" {
		body.appendTags(st)
	} else if tags && flexible != "false" {
		body.line("if flexible {")
		body.appendTags(st)
		body.line("}")
	}
	w.line("func (m *%s) %s(b []byte, version int16) []byte {", st.goName, name)
	if strings.Contains(body.String(), "flexible") {
		w.line("flexible := %s", flexExpr(st))
	}
	w.Write(body.Bytes())
	w.line("return b\n}\n")
}

func (w *writer) appendTags(st *structure) {
	var tagged []*field
	for _, f := range st.fields {
		if !f.Tagged.empty() {
			tagged = append(tagged, f)
		}
	}
	if len(tagged) == 0 {
		w.line("b = append(b, 0)")
		return
	}
	w.line("tags, at := len(b), 0")
	w.line("b = append(b, 0)")
	for tag := 0; tag < 128; tag++ {
		for _, f := range tagged {
			if f.Tag != tag {
				continue
			}
			cond := f.differs()
			if c := condition(*f.Versions, st.span.intersect(st.message.Flexible)); c != "true" {
				cond = c + " && " + cond
			}
			w.line("if %s {", cond)
			w.line("b, at = openTag(b, tags, %d)", tag)
			w.appendField(st, f, "true")
			w.line("b = closeTag(b, at)\n}")
		}
	}
}

func (w *writer) appendField(st *structure, f *field, flexible string) {
	name, null := "m."+f.goName, f.nullExpr(st)
	s := scalars[f.element]
	switch {
	case f.sub != nil && f.array:
		isNull := "false"
		if null == "true" {
			isNull = name + " == nil"
		} else if null != "false" {
			isNull = name + " == nil && " + null
		}
		w.line("b = appendCount(b, len(%s), %s, %s)", name, isNull, flexible)
		w.line("for i := range %s {\nb = %s[i].append(b, version)\n}", name, name)
	case f.sub != nil && null == "false":
		w.line("b = %s.append(b, version)", name)
	case f.sub != nil:
		w.line("b = append%s%s(b, %s != nil)", strings.ToUpper(f.presence()[:1]), f.presence()[1:], name)
		w.line("if %s != nil {\nb = %s.append(b, version)\n}", name, name)
	case f.array:
		w.line("b = append%ss(b, %s, %s, %s)", s.suffix, name, null, flexible)
	case f.element == "string" && f.canBeNull():
		w.line("b = appendOptText(b, %s, %s, %s)", name, null, flexible)
	case f.element == "string":
		w.line("b = appendText(b, %s, %s)", name, flexible)
	case s.size == 0:
		w.line("b = appendBlob(b, %s, %s, %s)", name, null, flexible)
	case f.isCode():
		w.line("b = AppendInt16(b, int16(%s))", name)
	default:
		w.line("b = Append%s(b, %s)", s.suffix, name)
	}
}
