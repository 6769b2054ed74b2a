package wire

import (
	"bytes"
	"encoding/hex"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestBytesOfKafka compares with what Kafka's own classes wrote.
func TestBytesOfKafka(t *testing.T) {
	text, err := os.ReadFile("testdata/kafka-4.4.txt")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]reflect.Type{}
	all := records()
	for i := range APIs {
		if APIs[i].NewRequest != nil {
			all = append(all, APIs[i].NewRequest(), APIs[i].NewResponse())
		}
	}
	for _, rec := range all {
		kind := reflect.TypeOf(rec).Elem()
		kinds[kind.Name()] = kind
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Fields(line)
		version, err := strconv.Atoi(parts[1])
		if err != nil || kinds[parts[0]] == nil {
			t.Fatalf("line %q: version %v, kind %v", line, err, kinds[parts[0]])
		}
		want, err := hex.DecodeString(strings.TrimSuffix(parts[3], "."))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		seen[parts[0]] = true
		m := reflect.New(kinds[parts[0]])
		m.Interface().(Record).SetDefaults()
		if parts[2] != "default" {
			fillByName(m.Elem(), "", strings.TrimPrefix(parts[2], "null:"))
		}
		checkGolden(t, strings.Join(parts[:3], " "), m.Interface().(Record), int16(version), want)
	}
	if len(seen) != len(kinds) {
		t.Errorf("Kafka's bytes are there for %d messages of %d", len(seen), len(kinds))
	}
}

func checkGolden(t *testing.T, what string, m Record, version int16, want []byte) {
	t.Helper()
	if got := m.Append(nil, version); !bytes.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
	again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Record)
	r := NewReader(want)
	if again.Decode(r, version); r.Finish() != nil {
		t.Errorf("%s: reading %x: %v", what, want, r.Err())
	}
	if got := again.Append(nil, version); !bytes.Equal(got, want) {
		t.Errorf("%s: read and written again it is %x, want %x", what, got, want)
	}
}

// fillByName gives each field a value that follows from its name, and arrays one element, as the program did that wrote
// the file; only records are empty. The field named null, in small letters, becomes nil.
func fillByName(v reflect.Value, name, null string) {
	sum := 0
	for _, c := range []byte(name) {
		sum += int(c)
	}
	sum = sum%100 + 1
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(sum))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(sum))
	case reflect.Float64:
		v.SetFloat(float64(sum) + 0.5)
	case reflect.String:
		v.SetString(name)
	case reflect.Array:
		v.Set(reflect.ValueOf(UUID{7: byte(sum), 15: byte(sum)}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillByName(v.Elem(), name, "")
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(name))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillByName(v.Index(0), name, "")
	case reflect.Struct:
		for i := range v.NumField() {
			field := strings.ToLower(v.Type().Field(i).Name)
			switch {
			case field == null:
				v.Field(i).SetZero()
			case strings.HasSuffix(field, "records") && v.Field(i).Type() == reflect.TypeFor[[]byte]():
				v.Field(i).SetBytes([]byte{})
			default:
				fillByName(v.Field(i), field, "")
			}
		}
	}
}
