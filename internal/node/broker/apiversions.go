package broker

import (
	"maps"
	"regexp"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// versionRange is what this node serves of one API.
type versionRange struct{ min, max int16 }

// served is the advertised range of one API.
func served(key int16) versionRange {
	info, ok := wire.Lookup(key)
	if !ok {
		return versionRange{0, -1}
	}
	r := versionRange{info.Min, info.Max}
	if info.LatestUnstable {
		r.max--
	}
	return r
}

// clientSoftware is what KIP-511 allows as a client's name and version.
var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// serveAPIVersions tells what this node speaks.
func serveAPIVersions(b *Broker, q *edge.Request, m *wire.ApiVersionsRequest) *wire.ApiVersionsResponse {
	if q.Version >= 3 {
		if !clientSoftware.MatchString(m.ClientSoftwareName) || !clientSoftware.MatchString(m.ClientSoftwareVersion) {
			return b.apiVersions(q, wire.InvalidRequest)
		}
		q.Conn().Identity().SetSoftware(m.ClientSoftwareName, m.ClientSoftwareVersion)
	}
	return b.apiVersions(q, wire.None)
}

// refuseAPIVersions answers a version we do not know with the layout of
// version 0, so that the client can ask again.
func (b *Broker) refuseAPIVersions(q *edge.Request) {
	m := &wire.ApiVersionsResponse{ErrorCode: wire.UnsupportedVersion}
	r := served(wire.KeyApiVersions)
	m.APIKeys = []wire.ApiVersionsResponseApiVersion{{APIKey: wire.KeyApiVersions, MinVersion: r.min, MaxVersion: r.max}}
	resp := q.BeginVersion(0)
	resp.Buf = m.Append(resp.Buf, 0)
	q.Reply()
}

func (b *Broker) apiVersions(q *edge.Request, code wire.Code) *wire.ApiVersionsResponse {
	m := &wire.ApiVersionsResponse{}
	m.SetDefaults()
	m.ErrorCode = code
	if code != wire.None {
		return m
	}
	side := b.side(q)
	for i := range wire.APIs {
		key := wire.APIs[i].Key
		if _, ok := b.handlers[key]; !ok || wire.APIs[i].Listeners&side == 0 {
			continue // what is not advertised clients do not ask for
		}
		r := served(key)
		if key == wire.KeyProduce {
			// librdkafka refuses brokers that do not list Produce from version 0
			// on; Kafka lists 0 and refuses 0 to 2 when they come.
			r.min = 0
		}
		m.APIKeys = append(m.APIKeys, wire.ApiVersionsResponseApiVersion{APIKey: key, MinVersion: r.min, MaxVersion: r.max})
	}
	for _, f := range metadata.SupportedFeatures() {
		if q.Version < 4 && f.Min == 0 {
			continue // before version 4 clients reject a minimum of 0
		}
		m.SupportedFeatures = append(m.SupportedFeatures, wire.ApiVersionsResponseSupportedFeatureKey{Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
	}
	img := b.image()
	features := img.Features()
	if v := b.quorum.KRaftVersion(); v > 0 { // the log's own, which is not in the image
		features = maps.Clone(features)
		features[metadata.FeatureKRaftVersion] = v
	}
	for _, name := range slices.Sorted(maps.Keys(features)) {
		m.FinalizedFeatures = append(m.FinalizedFeatures, wire.ApiVersionsResponseFinalizedFeatureKey{Name: name, MinVersionLevel: features[name], MaxVersionLevel: features[name]})
	}
	m.FinalizedFeaturesEpoch = img.Offset()
	return m
}
