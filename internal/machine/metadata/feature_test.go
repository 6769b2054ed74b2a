package metadata

import (
	"slices"
	"testing"
)

func TestDefaultFeaturesAreKafkas(t *testing.T) {
	// As the format tools of 4.3.1 (level 30) and 4.4.0 (level 33) write them.
	want := []FeatureLevel{
		{FeatureMetadataVersion, 30},
		{FeatureELRVersion, 1},
		{FeatureGroupVersion, 1},
		{FeatureShareVersion, 1},
		{FeatureStreamsVersion, 1},
		{FeatureTransactionVersion, 2},
	}
	if got := DefaultFeatures(30); !slices.Equal(got, want) {
		t.Errorf("level 30: %v", got)
	}
	want[0].Level, want[3].Level = 33, 2
	if got := DefaultFeatures(33); !slices.Equal(got, want) {
		t.Errorf("level 33: %v", got)
	}
	if got := DefaultFeatures(7); !slices.Equal(got, []FeatureLevel{{FeatureMetadataVersion, 7}}) {
		t.Errorf("level 7: %v", got)
	}
}

func TestVersionNamesAndLoss(t *testing.T) {
	for level, want := range map[int16]string{7: "3.3-IV3", 13: "3.6-IV1", 21: "3.9-IV0", 30: "4.3-IV0", 33: "4.4-IV2", 99: "level 99"} {
		if got := VersionName(level); got != want {
			t.Errorf("level %d is %s, want %s", level, got, want)
		}
	}
	if len(releases) != int(LatestVersion-MinimumVersion)+1 {
		t.Fatalf("%d releases for levels %d to %d", len(releases), MinimumVersion, LatestVersion)
	}
	for _, c := range []struct {
		from, to int16
		want     bool
	}{{29, 24, true}, {30, 29, false}, {25, 23, true}, {25, 22, false}, {20, 20, true}} {
		if got := Lossless(c.from, c.to); got != c.want {
			t.Errorf("from %d to %d without loss: %v", c.from, c.to, got)
		}
	}
}
