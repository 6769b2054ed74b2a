// Package partition is the machine of a share partition: one partition as the
// members of one share group work through it (KIP-932, KIP-1206, KIP-1222).
//
// Duty: it decides which records a member gets, how long it has them to
// itself, what an acknowledgement makes of them, how often a record is
// delivered again and when it is given up, and how far the start of the share
// partition moves. It says what has to be persisted, and takes a change back
// when that fails.
//
//	            acquire                 accept
//	Available ──────────► Acquired ─────────────────► Acknowledged
//	    ▲                  │     │      reject, gap, too many deliveries
//	    └──────────────────┘     └──────────────────► Archived
//	  release, lock timed out
//
// Records are never looked at one by one: what is in flight is a list of
// batches, each with as few runs of records of the same state as possible. A
// batch is one run until somebody treats its records differently.
//
// Invariants: batches are disjoint and ascending; the runs of a batch are
// contiguous; nothing below the start offset is kept; nothing at or above the
// next offset is in flight; a change that is not persisted yet can be taken
// back, and nobody can acquire its records meanwhile.
//
// Called by internal/node/share under one lock per share partition. It must
// never read records, know sessions, or ask the time.
package partition
