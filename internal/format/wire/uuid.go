package wire

import (
	"encoding/base64"
	"errors"
)

// UUID names a topic, a directory or an incarnation. Its text form is URL-safe base64 without padding, as Kafka's is.
type UUID [16]byte

// Identifiers that Kafka reserves.
var (
	ZeroUUID        = UUID{}      // none
	MetadataTopicID = UUID{15: 1} // the topic __cluster_metadata
	MigratingDirID  = UUID{}      // a directory that a migration has not told yet
	UnassignedDirID = UUID{15: 1} // a directory that the broker has not chosen yet
	LostDirID       = UUID{15: 2} // a directory that is gone
)

var errUUID = errors.New("an identifier has 22 characters of URL-safe base64")

// ParseUUID reads the text form.
func ParseUUID(s string) (u UUID, err error) {
	if len(s) != 22 {
		return u, errUUID
	}
	if _, err := base64.RawURLEncoding.Decode(u[:], []byte(s)); err != nil {
		return UUID{}, errUUID
	}
	return u, nil
}

// String returns the text form.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// IsZero says whether u is ZeroUUID, which stands for "none".
func (u UUID) IsZero() bool { return u == UUID{} }

// Reserved says whether Kafka keeps u for itself: the first 100 identifiers, which no new topic or directory may have.
func (u UUID) Reserved() bool { return [15]byte(u[:15]) == [15]byte{} && u[15] < 100 }
