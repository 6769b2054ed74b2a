package controller

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Kinds of feature update (KIP-778).
const (
	upgrade         int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// features decides on finalized levels.
type features struct{ *decider }

// updateFeatures changes finalized levels: all of them or none.
func (d features) updateFeatures(r *wire.UpdateFeaturesRequest) Decision {
	reply := &wire.UpdateFeaturesResponse{Results: []wire.UpdateFeaturesResponseUpdatableFeatureResult{}}
	for i := range r.FeatureUpdates {
		u := &r.FeatureUpdates[i]
		if f := d.updateFeature(u); f != nil {
			f = refuse(f.code, "The update failed for all features since the following feature had an error: %s", *f.message)
			reply.ErrorCode, reply.ErrorMessage = f.parts()
			reply.Results = reply.Results[:0]
			return Decision{Reply: reply}
		}
		reply.Results = append(reply.Results, wire.UpdateFeaturesResponseUpdatableFeatureResult{Feature: u.Feature})
	}
	return d.done(reply, r.ValidateOnly)
}

func (d features) updateFeature(u *wire.UpdateFeaturesRequestFeatureUpdateKey) *fault {
	kind := u.UpgradeType // AllowDowngrade of version 0 is not looked at, as in Kafka
	invalid := func(format string, args ...any) *fault {
		return refuse(wire.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s",
			u.MaxVersionLevel, u.Feature, fmt.Sprintf(format, args...))
	}
	now, want := d.image.Feature(u.Feature), u.MaxVersionLevel
	if kind < upgrade || kind > unsafeDowngrade {
		return invalid("The controller does not support the given upgrade type.")
	}
	if want < 0 {
		return invalid("A feature version cannot be less than 0.")
	}
	if u.Feature == metadata.FeatureKRaftVersion {
		return d.updateKRaftVersion(want, invalid)
	}
	if reason := d.unsupported(u.Feature, want); reason != "" {
		return invalid("%s", reason)
	}
	switch {
	case want < now && kind == upgrade:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case want > now && kind != upgrade:
		return invalid("Can't downgrade to a newer version.")
	}
	if u.Feature == metadata.FeatureMetadataVersion {
		if f := d.checkVersion(now, want, kind); f != nil {
			return f
		}
	} else if u.Feature == metadata.FeatureELRVersion && want > 0 && d.image.MetadataVersion() < metadata.ELRVersion {
		return invalid("%s could not be set to %d because it depends on %s level %d",
			u.Feature, want, metadata.FeatureMetadataVersion, metadata.ELRVersion)
	}
	if _, known := metadata.SupportedFeature(u.Feature); !known {
		return invalid("Feature %s not found.", u.Feature)
	}
	d.add(&wire.FeatureLevelRecord{Name: u.Feature, FeatureLevel: want})
	return nil
}

// updateKRaftVersion answers for the one feature that is not in the image but in the log's control records: what
// it is was decided when the node was formatted.
func (d features) updateKRaftVersion(want int16, invalid func(string, ...any) *fault) *fault {
	switch {
	case want == d.KRaftVersion:
		return nil
	case want < d.KRaftVersion:
		return invalid("Can't downgrade the version of this feature.")
	case want > 1:
		return invalid("%s", outside(fmt.Sprintf("Local controller %d", d.NodeID), want, 0, 1))
	default:
		return invalid("Upgrading from static to dynamic voters is not supported yet.")
	}
}

// unsupported says which node does not support a level, "" when all do.
func (d features) unsupported(name string, level int16) string {
	local, _ := metadata.SupportedFeature(name)
	if reason := outside(fmt.Sprintf("Local controller %d", d.NodeID), level, local.Min, local.Max); reason != "" {
		return reason
	}
	for _, b := range d.image.Brokers() {
		var low, high int16
		for _, f := range b.Features {
			if f.Name == name {
				low, high = f.MinSupportedVersion, f.MaxSupportedVersion
			}
		}
		if reason := outside(fmt.Sprintf("Broker %d", b.BrokerID), level, low, high); reason != "" {
			return reason
		}
	}
	return ""
}

func outside(what string, level, low, high int16) string {
	switch {
	case level >= low && level <= high:
		return ""
	case high == 0:
		return what + " does not support this feature."
	case low == high:
		return fmt.Sprintf("%s only supports versions %d", what, low)
	default:
		return fmt.Sprintf("%s only supports versions %d-%d", what, low, high)
	}
}

// checkVersion refuses a metadata.version that would lose records.
func (d features) checkVersion(now, want int16, kind int8) *fault {
	refused := func(reason string) *fault {
		return refuse(wire.InvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. %s", now, want, reason)
	}
	switch {
	case want >= now || metadata.Lossless(now, want):
		return nil
	case kind == unsafeDowngrade:
		return refused("Unsafe metadata downgrade is not supported in this version.")
	default:
		return refused("Refusing to perform the requested downgrade because it might delete metadata information.")
	}
}
