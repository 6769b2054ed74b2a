package group

import (
	"encoding/binary"
	"testing"
)

// TestHashIsThatOfKafka has values that Kafka's library (hash4j) gives for the same bytes.
func TestHashIsThatOfKafka(t *testing.T) {
	for n, want := range map[int]uint64{
		0: 0x2d06800538d394c2, 1: 0xe12ef9d2eb86ceeb, 3: 0x5c83885a0fb5d516, 4: 0x244f36de481e7522, 8: 0x96cc97a6768fd7a9,
		9: 0x4781d83b8e99d495, 16: 0x913bd4a8038027a7, 17: 0x2bf6f66973a6179d, 32: 0x5d503b89ae6f56c6, 33: 0xb192963ede5ed5ab,
		64: 0x13886553e7dc3fa3, 65: 0x1c6516cc715d0a0e, 128: 0xc4399c7829d0628f, 129: 0x8433489056750b32, 200: 0x70d27115faab301e,
		240: 0x3c0bb96864e543a1, 241: 0xbff7215089202d8f, 511: 0xd6595675e373f099, 1024: 0xac8e32e4ea3ba062, 1025: 0xc856c953bbdbc807,
		2048: 0xecd56acc708567ff, 3000: 0xaf446cc1736d393c,
	} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*7 + 1)
		}
		if got := xxh3(b); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
	b := appendHashed(nil, "häl\U0001F600lo")
	b = binary.LittleEndian.AppendUint32(b, 5)
	b = binary.LittleEndian.AppendUint64(b, 77)
	if got := xxh3(b); got != 0x4c36359aa534c04a {
		t.Errorf("string: %x", got)
	}
}
