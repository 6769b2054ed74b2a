package wire

// Listener is a set of kinds of listeners.
type Listener uint8

// Kinds of listeners that an API is served on.
const (
	OnBroker Listener = 1 << iota
	OnController
)

// Message is a request or a response.
type Message interface {
	APIKey() int16
	MinVersion() int16
	MaxVersion() int16
	IsFlexible(version int16) bool
	SetDefaults()
	Decode(r *Reader, version int16)
	Append(b []byte, version int16) []byte
}

// APIInfo tells what the protocol says about one API.
type APIInfo struct {
	Key            int16
	Name           string   // as in Kafka, for example "ApiVersions"
	Min, Max       int16    // versions; Max is below Min for an API that Kafka has retired
	FlexibleFrom   int16    // first version with tag sections, or -1
	Listeners      Listener // where it is served
	LatestUnstable bool     // version Max must not be offered unless unstable versions are enabled

	NewRequest  func() Message // nil for a retired API
	NewResponse func() Message
}

// Flexible says whether the version has tag sections.
func (a *APIInfo) Flexible(version int16) bool {
	return a.FlexibleFrom >= 0 && version >= a.FlexibleFrom
}

// Lookup returns what is known of the API with this key; false if there is none, or if it is retired.
func Lookup(key int16) (*APIInfo, bool) {
	if key < 0 || int(key) >= len(APIs) {
		return nil, false
	}
	a := &APIs[key]
	return a, a.Max >= a.Min
}

// APIName returns the name of the API for people, also for a key that does not exist.
func APIName(key int16) string {
	if key < 0 || int(key) >= len(APIs) {
		return "unknown API"
	}
	return APIs[key].Name
}
