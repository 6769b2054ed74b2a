package metadata

import "github.com/moldau/moldau/internal/format/wire"

// RecordVersion is the version in which a record is written under a
// metadata.version, so that every node of the cluster can read it.
func RecordVersion(rec wire.MetadataRecord, mv int16) int16 {
	switch r := rec.(type) {
	case *wire.RegisterBrokerRecord:
		switch {
		case mv >= CordonedVersion:
			return 4
		case mv >= DirectoriesVersion:
			return 3
		case mv >= zkMigrationVersion:
			return 2
		default:
			return 1
		}
	case *wire.PartitionRecord, *wire.PartitionChangeRecord:
		switch {
		case mv >= ELRVersion:
			return 2
		case mv >= DirectoriesVersion:
			return 1
		default:
			return 0
		}
	case *wire.BrokerRegistrationChangeRecord:
		return registrationChangeVersion(r)
	default:
		return 0
	}
}

// registrationChangeVersion is the lowest version that has the fields in use, as Kafka does.
func registrationChangeVersion(r *wire.BrokerRegistrationChangeRecord) int16 {
	switch {
	case r.CordonedLogDirs != nil:
		return 3
	case len(r.LogDirs) > 0:
		return 2
	case r.InControlledShutdown != 0:
		return 1
	default:
		return 0
	}
}

// AppendRecord appends the value of a metadata log record: frame version, type, version, body.
func AppendRecord(b []byte, rec wire.MetadataRecord, mv int16) []byte {
	return wire.AppendMetadataRecord(b, rec, RecordVersion(rec, mv))
}
