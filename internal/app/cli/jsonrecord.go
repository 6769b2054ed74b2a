package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// jsonRecord is a record as --json reads and writes it.
type jsonRecord struct {
	Topic     string       `json:"topic,omitempty"`
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp *int64       `json:"timestamp,omitempty"`
	Key       *jsonBytes   `json:"key"`
	Value     *jsonBytes   `json:"value"`
	Headers   []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key   string     `json:"key"`
	Value *jsonBytes `json:"value"`
}

// jsonBytes is bytes as a JSON string, or as {"base64": "…"} when they are not UTF-8.
type jsonBytes []byte

func newJSONBytes(b []byte) *jsonBytes {
	if b == nil {
		return nil
	}
	j := jsonBytes(b)
	return &j
}

func (j *jsonBytes) bytes() ([]byte, error) {
	if j == nil {
		return nil, nil
	}
	return *j, nil
}

// MarshalJSON writes a string where that loses nothing.
func (j jsonBytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(j) {
		return json.Marshal(string(j))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(j)})
}

// UnmarshalJSON reads either form.
func (j *jsonBytes) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*j = jsonBytes(s)
		return nil
	}
	var coded struct {
		Base64 *string `json:"base64"`
	}
	if err := json.Unmarshal(b, &coded); err != nil || coded.Base64 == nil {
		return fmt.Errorf(`a key, value or header must be a string, null or {"base64": "…"}, and is %s`, b)
	}
	raw, err := base64.StdEncoding.DecodeString(*coded.Base64)
	*j = raw
	return err
}
