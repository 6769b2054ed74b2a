package main

import "strings"

// scalar tells how a type that is not a struct is written in Go.
type scalar struct {
	goType string
	suffix string // of the methods: Reader.Int8, AppendInt8, int8s, appendInt8s
	size   int    // in bytes; 0 if it varies
}

var scalars = map[string]scalar{
	"bool":    {"bool", "Bool", 1},
	"int8":    {"int8", "Int8", 1},
	"int16":   {"int16", "Int16", 2},
	"uint16":  {"uint16", "Uint16", 2},
	"int32":   {"int32", "Int32", 4},
	"uint32":  {"uint32", "Uint32", 4},
	"int64":   {"int64", "Int64", 8},
	"float64": {"float64", "Float64", 8},
	"uuid":    {"UUID", "UUID", 16},
	"string":  {"string", "Text", 0},
	"bytes":   {"[]byte", "Blob", 0},
	"records": {"[]byte", "Records", 0},
}

// initialisms are the words that Go writes in capitals.
var initialisms = map[string]string{
	"Id": "ID", "Ids": "IDs", "Api": "API", "Isr": "ISR", "Uuid": "UUID", "Acl": "ACL", "Elr": "ELR", "Url": "URL",
}

// goName makes a field name out of a name of the specification.
func goName(name string) string {
	name = strings.ToUpper(name[:1]) + name[1:]
	var out strings.Builder
	for _, word := range words(name) {
		if w, ok := initialisms[word]; ok {
			word = w
		}
		out.WriteString(word)
	}
	return out.String()
}

// words cuts a camel case name before each capital that follows or precedes a small letter.
func words(name string) []string {
	var out []string
	start := 0
	for i := 1; i < len(name); i++ {
		capital := isUpper(name[i])
		if capital && (!isUpper(name[i-1]) || i+1 < len(name) && !isUpper(name[i+1])) {
			out = append(out, name[start:i])
			start = i
		}
	}
	return append(out, name[start:])
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// nestedName names a struct within a message. A struct that begins with the name of the message keeps its name.
func nestedName(message, name string) string {
	if strings.HasPrefix(name, message) && name != message {
		return name
	}
	return message + name
}

// fileName makes a file name out of a message name.
func fileName(name string) string {
	return "zz_generated_" + strings.ToLower(strings.Join(words(name), "_")) + ".go"
}
