package controller

import (
	"math"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// producerIDBlock is how many producer ids a broker gets at a time.
const producerIDBlock = 1000

// brokerFault checks that a request comes from the present incarnation of a broker.
func (d *decider) brokerFault(id int32, epoch int64) wire.Code {
	b := d.image.Broker(id)
	switch {
	case b == nil:
		return wire.BrokerIDNotRegistered
	case b.BrokerEpoch != epoch:
		return wire.StaleBrokerEpoch
	default:
		return wire.None
	}
}

// brokers decides on the nodes of the cluster.
type brokers struct{ *decider }

// registerBroker takes a broker into the cluster. A new incarnation gets a new
// epoch, the offset of its record, and stays fenced until it asks otherwise;
// the same incarnation may change what it registered.
func (d brokers) registerBroker(r *wire.BrokerRegistrationRequest) Decision {
	reply := &wire.BrokerRegistrationResponse{BrokerEpoch: -1}
	if reply.ErrorCode = d.checkRegistration(r); reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	rec := &wire.RegisterBrokerRecord{
		BrokerID: r.BrokerID, IncarnationID: r.IncarnationID, Rack: r.Rack, Fenced: true,
		LogDirs:   slices.Clone(r.LogDirs),
		EndPoints: make([]wire.RegisterBrokerRecordBrokerEndpoint, len(r.Listeners)),
		Features:  make([]wire.RegisterBrokerRecordBrokerFeature, len(r.Features)),
	}
	for i, l := range r.Listeners {
		rec.EndPoints[i] = wire.RegisterBrokerRecordBrokerEndpoint(l)
	}
	for i, f := range r.Features {
		rec.Features[i] = wire.RegisterBrokerRecordBrokerFeature(f)
	}
	old := d.image.Broker(r.BrokerID)
	if old != nil && old.IncarnationID == r.IncarnationID {
		rec.BrokerEpoch, rec.Fenced, rec.InControlledShutdown = old.BrokerEpoch, old.Fenced, old.InControlledShutdown
	} else {
		d.leave(r.BrokerID, old == nil || old.BrokerEpoch != r.PreviousBrokerEpoch)
		rec.BrokerEpoch = d.Offset + int64(len(d.records))
	}
	d.add(rec)
	reply.BrokerEpoch = rec.BrokerEpoch
	decision := d.done(reply, false)
	decision.Splittable = true
	return decision
}

func (d brokers) checkRegistration(r *wire.BrokerRegistrationRequest) wire.Code {
	if r.ClusterID != d.ClusterID {
		return wire.InconsistentClusterID
	}
	if r.IsMigratingZkBroker {
		return wire.BrokerIDNotRegistered
	}
	if d.image.MetadataVersion() >= metadata.DirectoriesVersion && !d.directoriesFree(r) {
		return wire.InvalidRegistration
	}
	for name, level := range d.image.Features() { // unordered: one unsupported level decides, whichever it is
		i := slices.IndexFunc(r.Features, func(f wire.BrokerRegistrationRequestFeature) bool { return f.Name == name })
		if i < 0 || level < r.Features[i].MinSupportedVersion || level > r.Features[i].MaxSupportedVersion {
			return wire.UnsupportedVersion
		}
	}
	return wire.None
}

// directoriesFree tells whether the log directories are named once, properly,
// and by no other broker.
func (d brokers) directoriesFree(r *wire.BrokerRegistrationRequest) bool {
	if len(r.LogDirs) == 0 {
		return false
	}
	for i, dir := range r.LogDirs {
		if dir.Reserved() || slices.Contains(r.LogDirs[:i], dir) {
			return false
		}
		for _, b := range d.image.Brokers() {
			if b.BrokerID != r.BrokerID && slices.Contains(b.LogDirs, dir) {
				return false
			}
		}
	}
	return true
}

// heartbeat moves a broker between fenced, unfenced, controlled shutdown and gone, as it wishes and may.
func (d brokers) heartbeat(r *wire.BrokerHeartbeatRequest) Decision {
	reply := &wire.BrokerHeartbeatResponse{IsFenced: true}
	if reply.ErrorCode = d.brokerFault(r.BrokerID, r.BrokerEpoch); reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	b := d.image.Broker(r.BrokerID)
	reply.IsCaughtUp = r.CurrentMetadataOffset >= b.BrokerEpoch
	reply.IsFenced = b.Fenced
	switch {
	case b.Fenced && r.WantShutDown:
		reply.ShouldShutDown = true
	case b.Fenced && !r.WantFence && reply.IsCaughtUp:
		d.add(&wire.BrokerRegistrationChangeRecord{BrokerID: r.BrokerID, BrokerEpoch: r.BrokerEpoch, Fenced: -1})
		d.join(r.BrokerID)
		reply.IsFenced = false
	case b.Fenced:
	case r.WantFence:
		d.fence(b)
		reply.IsFenced, reply.ShouldShutDown = true, r.WantShutDown
	case b.InControlledShutdown || r.WantShutDown:
		d.shutDown(b, reply)
	}
	decision := d.done(reply, false)
	decision.Splittable = true
	return decision
}

// fence takes a broker out of service.
func (d brokers) fence(b *metadata.Broker) {
	d.add(&wire.BrokerRegistrationChangeRecord{BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch, Fenced: 1})
	d.leave(b.BrokerID, false)
}

// shutDown moves leadership away from a broker, and lets it go once none can be moved.
//
// Differs from Kafka: a broker that shuts down in good order keeps leading the partitions that have their only replica on
// it.
func (d brokers) shutDown(b *metadata.Broker, reply *wire.BrokerHeartbeatResponse) {
	if !b.InControlledShutdown {
		d.add(&wire.BrokerRegistrationChangeRecord{BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch, InControlledShutdown: 1})
		before := len(d.records)
		d.leave(b.BrokerID, false)
		if len(d.records) > before {
			return // ask again when these are committed
		}
	}
	d.add(&wire.BrokerRegistrationChangeRecord{BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch, Fenced: 1})
	reply.IsFenced, reply.ShouldShutDown = true, true
}

func (d brokers) unregisterBroker(r *wire.UnregisterBrokerRequest) Decision {
	reply := &wire.UnregisterBrokerResponse{}
	b := d.image.Broker(r.BrokerID)
	if b == nil {
		f := refuse(wire.BrokerIDNotRegistered, "Broker ID %d is not currently registered", r.BrokerID)
		reply.ErrorCode, reply.ErrorMessage = f.parts()
		return Decision{Reply: reply}
	}
	none := "" // as Kafka
	reply.ErrorMessage = &none
	d.leave(r.BrokerID, false)
	d.add(&wire.UnregisterBrokerRecord{BrokerID: r.BrokerID, BrokerEpoch: b.BrokerEpoch})
	decision := d.done(reply, false)
	decision.Splittable = true
	return decision
}

func (d brokers) registerController(r *wire.ControllerRegistrationRequest) Decision {
	reply := &wire.ControllerRegistrationResponse{}
	if d.image.MetadataVersion() < metadata.ControllerVersion {
		f := refuse(wire.UnsupportedVersion, "The current MetadataVersion is too old to support controller registrations.")
		reply.ErrorCode, reply.ErrorMessage = f.parts()
		return Decision{Reply: reply}
	}
	rec := &wire.RegisterControllerRecord{
		ControllerID: r.ControllerID, IncarnationID: r.IncarnationID,
		EndPoints: make([]wire.RegisterControllerRecordControllerEndpoint, len(r.Listeners)),
		Features:  make([]wire.RegisterControllerRecordControllerFeature, len(r.Features)),
	}
	for i, l := range r.Listeners {
		rec.EndPoints[i] = wire.RegisterControllerRecordControllerEndpoint(l)
	}
	for i, f := range r.Features {
		rec.Features[i] = wire.RegisterControllerRecordControllerFeature(f)
	}
	d.add(rec)
	return d.done(reply, false)
}

func (d brokers) allocateProducerIDs(r *wire.AllocateProducerIdsRequest) Decision {
	reply := &wire.AllocateProducerIdsResponse{ProducerIDStart: -1}
	if reply.ErrorCode = d.brokerFault(r.BrokerID, r.BrokerEpoch); reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	first := d.image.NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		reply.ErrorCode = wire.UnknownServerError
		return Decision{Reply: reply}
	}
	d.add(&wire.ProducerIdsRecord{BrokerID: r.BrokerID, BrokerEpoch: r.BrokerEpoch, NextProducerID: first + producerIDBlock})
	reply.ProducerIDStart, reply.ProducerIDLen = first, producerIDBlock
	return d.done(reply, false)
}
