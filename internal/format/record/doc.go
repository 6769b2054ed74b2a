// Package record reads, checks, stamps and writes record batches.
//
// A batch of format 2, which is the same bytes on the wire and on disk (big endian):
//
//	 0  int64   base offset              stamped by the leader, outside the CRC
//	 8  int32   length of what follows
//	12  int32   partition leader epoch   stamped by the leader, outside the CRC
//	16  int8    magic, 2
//	17  uint32  CRC-32C of byte 21 to the end
//	21  int16   attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control,
//	            6 delete horizon (the base timestamp holds it)
//	23  int32   last offset delta
//	27  int64   base timestamp, ms
//	35  int64   max timestamp, ms
//	43  int64   producer id, -1 none
//	51  int16   producer epoch
//	53  int32   base sequence
//	57  int32   record count
//	61  records, packed together by the codec
//
// A record: varint length of what follows | int8 attributes | varlong timestamp delta | varint offset delta |
// varint key length, -1 null | key | varint value length, -1 null | value | varint header count | headers.
// A header: varint key length | key | varint value length, -1 null | value. All varints are zigzag.
//
// Message sets of formats 0 and 1, which old log directories may still hold, are drawn in old.go. They can
// be scanned, checked and read here, never written.
//
// Invariants: no function keeps or copies the caller's bytes unless it says so; nothing panics on hostile
// bytes; what is allocated is bounded by the limit that the caller names, whatever the bytes claim.
//
// Called by the produce path (Validate, Prepare, stamping), the commit log (PeekHeader, Check, Next),
// readers of internal topics (Iterate) and their writers (Builder). It must never do I/O, ask the time or
// know of topics.
//
// Specification: KIP-98 (format 2), KIP-31/32 (format 1), KIP-101 (leader epoch), KIP-534 (delete horizon).
package record
