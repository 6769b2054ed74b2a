package group

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/machine/metadata"
)

// TopicHash is the hash by which Kafka's groups notice that a topic has changed: its id, name, partitions and the racks
// of their replicas (KIP-1101).
func TopicHash(t *metadata.Topic, img *metadata.Image) int64 {
	var b []byte
	b = append(b, 0) // the version of this way to hash
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[8:]))
	b = appendHashed(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Partitions)))
	for i, p := range t.Partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		var racks []string
		for _, r := range p.Replicas {
			if broker := img.Broker(r); broker != nil && broker.Rack != nil {
				racks = append(racks, *broker.Rack)
			}
		}
		slices.Sort(racks)
		for _, rack := range racks {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(utf16.Encode([]rune(rack)))))
			b = appendHashed(b, rack)
		}
	}
	return int64(xxh3(b))
}

// GroupHash is the hash of the topics that a group reads, given in order of their names; 0 for none.
func GroupHash(topics []int64) int64 {
	if len(topics) == 0 {
		return 0
	}
	b := make([]byte, 0, 8*len(topics))
	for _, h := range topics {
		b = binary.LittleEndian.AppendUint64(b, uint64(h))
	}
	return int64(xxh3(b))
}

// appendHashed adds a string as Java's hash streams do: its UTF-16 units, and how many they are.
func appendHashed(b []byte, s string) []byte {
	units := utf16.Encode([]rune(s))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return binary.LittleEndian.AppendUint32(b, uint32(len(units)))
}

// Constants of XXH3 (the xxHash specification).
const (
	prime32a = 0x9E3779B1
	prime32b = 0x85EBCA77
	prime32c = 0xC2B2AE3D
	prime64a = 0x9E3779B185EBCA87
	prime64b = 0xC2B2AE3D27D4EB4F
	prime64c = 0x165667B19E3779F9
	prime64d = 0x85EBCA77C2B2AE63
	prime64e = 0x27D4EB2F165667C5
	primeMXa = 0x165667919E3779F9
	primeMXb = 0x9FB21C651E98DF25

	xxhStripe = 64                                 // bytes taken at a time
	xxhBlock  = (len(xxhSecret)/2 - xxhStripe) / 8 // stripes between two scrambles
)

// xxhSecret is the algorithm's default secret, in hexadecimal.
const xxhSecret = "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e" +
	"e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d" +
	"8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc" +
	"8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"

func xxhMix(h uint64) uint64 {
	h ^= h >> 37
	h *= primeMXa
	return h ^ h>>32
}

func xxhMix64(h uint64) uint64 {
	h ^= h >> 33
	h *= prime64b
	h ^= h >> 29
	h *= prime64c
	return h ^ h>>32
}

func xxhFold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func at64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

func at32(b []byte, i int) uint64 { return uint64(binary.LittleEndian.Uint32(b[i:])) }

// xxhPair mixes 16 bytes of the input with 16 of the secret.
func xxhPair(b []byte, i int, secret []byte, k int) uint64 {
	return xxhFold(at64(b, i)^at64(secret, k), at64(b, i+8)^at64(secret, k+8))
}

// xxh3 is XXH3's hash of 64 bits, without a seed.
func xxh3(b []byte) uint64 {
	secret, _ := hex.DecodeString(xxhSecret) // a constant
	n := len(b)
	switch {
	case n <= 16:
		return xxhShort(b, secret)
	case n > 240:
		return xxhLong(b, secret)
	}
	acc := uint64(n) * prime64a
	if n <= 128 {
		for i := (n - 1) / 32; i >= 0; i-- {
			acc += xxhPair(b, 16*i, secret, 32*i) + xxhPair(b, n-16*(i+1), secret, 32*i+16)
		}
		return xxhMix(acc)
	}
	for i := range 8 {
		acc += xxhPair(b, 16*i, secret, 16*i)
	}
	acc = xxhMix(acc)
	for i := 8; i < n/16; i++ {
		acc += xxhPair(b, 16*i, secret, 16*(i-8)+3)
	}
	return xxhMix(acc + xxhPair(b, n-16, secret, 136-17))
}

func xxhShort(b, secret []byte) uint64 {
	n := len(b)
	switch {
	case n == 0:
		return xxhMix64(at64(secret, 56) ^ at64(secret, 64))
	case n <= 3:
		x := uint64(b[0])<<16 | uint64(b[n>>1])<<24 | uint64(b[n-1]) | uint64(n)<<8
		return xxhMix64(x ^ at32(secret, 0) ^ at32(secret, 4))
	case n <= 8:
		h := (at32(b, n-4) + at32(b, 0)<<32) ^ at64(secret, 8) ^ at64(secret, 16)
		h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
		h *= primeMXb
		h ^= h>>35 + uint64(n)
		h *= primeMXb
		return h ^ h>>28
	}
	lo := at64(b, 0) ^ at64(secret, 24) ^ at64(secret, 32)
	hi := at64(b, n-8) ^ at64(secret, 40) ^ at64(secret, 48)
	return xxhMix(uint64(n) + bits.ReverseBytes64(lo) + hi + xxhFold(lo, hi))
}

func xxhLong(b, secret []byte) uint64 {
	acc := [8]uint64{prime32c, prime64a, prime64b, prime64c, prime64d, prime32b, prime64e, prime32a}
	stripe := func(at, k int) {
		for i := range acc {
			v := at64(b, at+8*i)
			key := v ^ at64(secret, k+8*i)
			acc[i^1] += v
			acc[i] += key & 0xffffffff * (key >> 32)
		}
	}
	n := len(b)
	stripes := (n - 1) / xxhStripe
	for s := range stripes {
		stripe(s*xxhStripe, s%xxhBlock*8)
		if s%xxhBlock == xxhBlock-1 {
			for i := range acc {
				acc[i] = (acc[i] ^ acc[i]>>47 ^ at64(secret, len(secret)-xxhStripe+8*i)) * prime32a
			}
		}
	}
	stripe(n-xxhStripe, len(secret)-xxhStripe-7)
	h := uint64(n) * prime64a
	for i := range 4 {
		h += xxhFold(acc[2*i]^at64(secret, 11+16*i), acc[2*i+1]^at64(secret, 11+16*i+8))
	}
	return xxhMix(h)
}
