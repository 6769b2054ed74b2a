package metadata

import (
	"strconv"
	"strings"
)

// Names of the features that a cluster finalizes (KIP-584).
const (
	FeatureMetadataVersion    = "metadata.version"
	FeatureKRaftVersion       = "kraft.version"
	FeatureTransactionVersion = "transaction.version"
	FeatureGroupVersion       = "group.version"
	FeatureELRVersion         = "eligible.leader.replicas.version"
	FeatureShareVersion       = "share.version"
	FeatureStreamsVersion     = "streams.version"
)

// Levels of metadata.version at which something that we write or check begins.
const (
	MinimumVersion           int16 = 7  // 3.3-IV3, the lowest that Kafka 4 knows
	ScramVersion             int16 = 11 // 3.5-IV2: SCRAM credentials
	ISRShrinkEpochVersion    int16 = 12 // 3.6-IV0: shrinking the ISR no longer begins a leader epoch
	TransactionsVersion      int16 = 13 // 3.6-IV1: metadata transactions
	TokensVersion            int16 = 14 // 3.6-IV2: delegation tokens
	ControllerVersion        int16 = 15 // 3.7-IV0: controller registration
	DirectoriesVersion       int16 = 17 // 3.7-IV2: replicas know their log directory
	ELRVersion               int16 = 23 // 4.0-IV1: eligible leader replicas
	CordonedVersion          int16 = 30 // 4.3-IV0: cordoned log directories
	DefaultVersion           int16 = 30 // 4.3-IV0: what a new cluster starts with
	UnregisterControllerFrom int16 = 33 // 4.4-IV2: controllers can be unregistered
	LatestVersion            int16 = 33 // 4.4-IV2
	zkMigrationVersion       int16 = 8  // 3.4-IV0: RegisterBrokerRecord version 2
)

// Feature is one feature and the range of levels that this release supports.
type Feature struct {
	Name     string
	Min, Max int16
}

// supported is what Kafka 4.4 supports, sorted by name.
var supported = [...]Feature{
	{FeatureELRVersion, 0, 1},
	{FeatureGroupVersion, 0, 1},
	{FeatureKRaftVersion, 0, 1},
	{FeatureMetadataVersion, MinimumVersion, LatestVersion},
	{FeatureShareVersion, 0, 2},
	{FeatureStreamsVersion, 0, 1},
	{FeatureTransactionVersion, 0, 2},
}

// SupportedFeatures gives every feature that this release knows, sorted by name.
// A broker must register all of them: one that is finalized but not listed is refused.
func SupportedFeatures() []Feature { return supported[:] }

// SupportedFeature finds one of them.
func SupportedFeature(name string) (Feature, bool) {
	for _, f := range supported {
		if f.Name == name {
			return f, true
		}
	}
	return Feature{}, false
}

// FeatureLevel is a feature with a level.
type FeatureLevel struct {
	Name  string
	Level int16
}

// defaults says from which metadata.version a level of a feature is the default.
var defaults = [...]struct {
	FeatureLevel
	from int16
}{
	{FeatureLevel{FeatureELRVersion, 1}, 26},
	{FeatureLevel{FeatureGroupVersion, 1}, 22},
	{FeatureLevel{FeatureShareVersion, 2}, 31},
	{FeatureLevel{FeatureShareVersion, 1}, 28},
	{FeatureLevel{FeatureStreamsVersion, 1}, 29},
	{FeatureLevel{FeatureTransactionVersion, 2}, 24},
}

// DefaultFeatures gives the levels that a new cluster of a metadata.version
// starts with, metadata.version first and the rest sorted by name, without
// kraft.version (that is a control record of the log, not of the image).
func DefaultFeatures(version int16) []FeatureLevel {
	levels := []FeatureLevel{{FeatureMetadataVersion, version}}
	last := FeatureMetadataVersion
	for _, d := range defaults {
		if version >= d.from && d.Name != last {
			levels = append(levels, d.FeatureLevel)
			last = d.Name
		}
	}
	return levels
}

// release is a metadata.version with Kafka's name for it.
type release struct {
	name string
	// changed: going back below this level would lose records.
	changed bool
}

// releases begins with MinimumVersion.
var releases = [...]release{
	{"3.3-IV3", true},
	{"3.4-IV0", true},
	{"3.5-IV0", false},
	{"3.5-IV1", false},
	{"3.5-IV2", true},
	{"3.6-IV0", false},
	{"3.6-IV1", true},
	{"3.6-IV2", true},
	{"3.7-IV0", true},
	{"3.7-IV1", false},
	{"3.7-IV2", true},
	{"3.7-IV3", false},
	{"3.7-IV4", false},
	{"3.8-IV0", false},
	{"3.9-IV0", false},
	{"4.0-IV0", false},
	{"4.0-IV1", true},
	{"4.0-IV2", false},
	{"4.0-IV3", false},
	{"4.1-IV0", false},
	{"4.1-IV1", false},
	{"4.2-IV0", false},
	{"4.2-IV1", false},
	{"4.3-IV0", true},
	{"4.4-IV0", false},
	{"4.4-IV1", true},
	{"4.4-IV2", true},
}

// VersionName is Kafka's name of a metadata.version, as in "4.3-IV0".
func VersionName(level int16) string {
	if level < MinimumVersion || level > LatestVersion {
		return "level " + strconv.Itoa(int(level))
	}
	return releases[level-MinimumVersion].name
}

// ParseVersion reads Kafka's name of a metadata.version, "4.3-IV0", or of a release, "4.3", which stands for the last of its
// versions.
func ParseVersion(name string) (level int16, ok bool) {
	for i, r := range releases {
		if r.name == name || strings.HasPrefix(r.name, name+"-IV") {
			level, ok = MinimumVersion+int16(i), true
		}
	}
	return level, ok
}

// Lossless tells whether the metadata of one version can be written in another
// without losing anything.
func Lossless(from, to int16) bool {
	for v := from; v > to; v-- {
		if v < MinimumVersion || v > LatestVersion || releases[v-MinimumVersion].changed {
			return false
		}
	}
	return true
}
