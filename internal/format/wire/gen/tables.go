package main

import (
	"cmp"
	"slices"
	"strings"
)

// emitAPIs writes the keys of the APIs and the table of them.
func emitAPIs(messages []*message) ([]byte, error) {
	var requests []*message
	for _, m := range messages {
		if m.Type == "request" {
			requests = append(requests, m)
		}
	}
	slices.SortFunc(requests, func(a, b *message) int { return cmp.Compare(a.APIKey, b.APIKey) })
	w := &writer{}
	w.line("// Numbers of the APIs.\nconst (")
	for _, m := range requests {
		w.line("Key%s int16 = %d", strings.TrimSuffix(m.Name, "Request"), m.APIKey)
	}
	w.line(")\n")
	w.line("// APIs has one entry for each API key, in the order of the keys, which have no gap. Keys that Kafka has retired have no versions.")
	w.line("var APIs = [...]APIInfo{")
	for _, m := range requests {
		api := strings.TrimSuffix(m.Name, "Request")
		w.line("{")
		w.line("Key: Key%s, Name: %q,", api, api)
		if m.root == nil {
			w.line("Min: 0, Max: -1, FlexibleFrom: -1,")
		} else {
			flexible := -1
			if !m.Flexible.empty() {
				flexible = m.Flexible.low
			}
			w.line("Min: %d, Max: %d, FlexibleFrom: %d,", m.ValidVersions.low, m.ValidVersions.high, flexible)
			w.line("Listeners: %s, LatestUnstable: %t,", listeners(m), m.LatestUnstable)
			w.line("NewRequest: func() Message { return new(%sRequest) },", api)
			w.line("NewResponse: func() Message { return new(%sResponse) },", api)
		}
		w.line("},")
	}
	w.line("}")
	return w.source()
}

func listeners(m *message) string {
	var parts []string
	for _, l := range m.Listeners {
		parts = append(parts, "On"+strings.ToUpper(l[:1])+l[1:])
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, " | ")
}

// emitRecords writes the types of records and the functions that make an empty record of a type.
func emitRecords(messages []*message) ([]byte, error) {
	w := &writer{}
	w.factory(messages, "metadata", "", "newMetadataRecord", "MetadataRecord")
	w.factory(messages, "remote", "", "newRemoteLogRecord", "RemoteLogRecord")
	for _, c := range []struct{ name, first string }{{"Group", ""}, {"Transaction", "Transaction"}, {"Share", "Share"}} {
		var own []*message
		for _, m := range messages {
			if strings.HasPrefix(m.Type, "coordinator-") && coordinator(m) == c.name {
				own = append(own, m)
			}
		}
		w.factory(own, "coordinator-key", "Key", "new"+c.name+"Key", "CoordinatorRecord")
		w.factory(own, "coordinator-value", "Value", "new"+c.name+"Value", "CoordinatorRecord")
	}
	return w.source()
}

// coordinator says which coordinator writes a record.
func coordinator(m *message) string {
	switch {
	case strings.HasPrefix(m.Name, "TransactionLog"):
		return "Transaction"
	case strings.HasPrefix(m.Name, "ShareSnapshot"), strings.HasPrefix(m.Name, "ShareUpdate"):
		return "Share"
	}
	return "Group"
}

// factory writes the constants and the constructor for the messages of one kind.
func (w *writer) factory(messages []*message, kind, suffix, name, result string) {
	var own []*message
	for _, m := range messages {
		if m.Type == kind {
			own = append(own, m)
		}
	}
	slices.SortFunc(own, func(a, b *message) int { return cmp.Compare(a.APIKey, b.APIKey) })
	if suffix != "Value" {
		w.line("// Types of records, for %s.\nconst (", name)
		for _, m := range own {
			w.line("%s int16 = %d", typeName(m), m.APIKey)
		}
		w.line(")\n")
	}
	w.line("// %s returns an empty record of the type, or nil if the type is unknown.", name)
	w.line("func %s(kind int16) %s {\nswitch kind {", name, result)
	for _, m := range own {
		w.line("case %s:\nreturn new(%s)", typeName(m), m.Name)
	}
	w.line("}\nreturn nil\n}\n")
}
