package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Entry is one thing in a file: a batch, a record, an index entry, a line.
type Entry struct {
	// Path is the file, Pos the byte at which the entry begins, or for lines of text their number from 1.
	Path string
	Pos  int64
	// Kind is what it is: "batch", "record", "index", "timeindex", "txnindex", "producer", "epoch", "offset",
	// "property", "journal", or "damage" for bytes that cannot be read.
	Kind   string
	Fields Fields
}

// Field is a named value: a number, a bool, a string, []byte, Fields, or a slice of those.
type Field struct {
	Name  string
	Value any
}

// Fields are values in the order in which people want to read them.
type Fields []Field

// MarshalJSON writes an object with the fields in their order.
func (f Fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f[i].Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f[i].Value)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f[i].Name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plain turns a message of package wire into Fields, with names as in Kafka's specifications.
func plain(v reflect.Value) any {
	if v.Type() == reflect.TypeFor[wire.UUID]() {
		return v.Interface().(wire.UUID).String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		f := Fields{}
		for i := range v.NumField() {
			if t := v.Type().Field(i); t.IsExported() {
				f = append(f, Field{lowerFirst(t.Name), plain(v.Field(i))})
			}
		}
		return f
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return bytes.Clone(v.Bytes())
		}
		list := make([]any, 0, v.Len())
		for i := range v.Len() {
			list = append(list, plain(v.Index(i)))
		}
		return list
	default:
		return v.Interface()
	}
}

// lowerFirst is a Go name as JSON has it: TopicID becomes topicId, ISR isr.
func lowerFirst(name string) string {
	if name == strings.ToUpper(name) {
		return strings.ToLower(name)
	}
	if before, ok := strings.CutSuffix(name, "ID"); ok {
		name = before + "Id"
	}
	return strings.ToLower(name[:1]) + name[1:]
}
