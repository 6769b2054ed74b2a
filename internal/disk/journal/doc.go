// Package journal is the write-ahead journal of one data directory: what many
// partitions have queued goes to disk in one write and one sync.
//
// Duty: append frames (one per group commit) to preallocated, recycled files;
// after a crash, tell what the frames hold, where the torn end is, and what is damaged.
//
// The journal lives in the folder moldau-journal of the data directory. The
// name does not end in a partition number, so Kafka refuses to start on a directory whose journal
// still holds data that the segments may lack; a clean stop removes the folder.
//
// A file, FileBytes long, all integers big endian:
//
//	0     file header, one page
//	      uint32 magic "MJL1" | uint32 CRC-32C of the 20 bytes that follow | uint32 version 1 |
//	      uint64 epoch | uint64 sequence of the first frame
//	4096  frames, each at a multiple of 4096
//
// A frame:
//
//	 0  uint32  magic "MJF1"
//	 4  uint32  CRC-32C of byte 8 to the end of the entries
//	 8  uint64  epoch: one life of the journal, grows with each opening
//	16  uint64  sequence: grows by one per frame, across files and epochs
//	24  uint64  synced: every frame up to this sequence was durable when this one was written
//	32  uint32  number of entries
//	36  uint32  reserved, 0
//	40  uint64  payload bytes
//	48  entries, 64 bytes each:
//	      topic id [16] | int32 partition | uint8 kind | 3 reserved | int64 base offset | int64 end offset |
//	      int32 leader epoch | uint32 payload bytes | uint32 check | 12 reserved
//	    payloads, in the order of the entries
//
// The payload of a Data entry is whole record batches of format 2. Its bytes are not
// summed again: each batch's own CRC-32C covers them from its attributes on, and
// the entry's check, a CRC-32C over the 61 byte headers of its batches, covers the rest.
//
// Invariants:
//   - frames never share a page, so that writing one cannot tear another that was acknowledged;
//   - frame n+1 is written after frame n was synced, or names in its synced field that it was not;
//     so a bad frame n is a torn end unless a later frame proves that n was durable: then it is corruption;
//   - a file that is free has a zeroed header on disk before it is written again: stale
//     frames are recognised by their sequence, stale files by their header.
//
// Called by commitlog only. One goroutine at a time writes; Release may run beside it.
// It must never decide what may be released, and never touches segments.
package journal
