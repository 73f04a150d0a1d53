// Package mirror keeps the same partition on two clusters equal, byte for byte,
// in whichever direction the partition's home says.
//
// # Two directions
//
// Home legacy: record batches are read raw from legacy (read_uncommitted,
// control batches and gaps included) and handed to the target at their own
// offsets. Home target: the clients' own batches are sent raw to legacy by
// Produce, which assigns the offsets again, and each of them is checked. The
// same reading goes on then as read-back: what legacy holds is compared with
// what the target holds.
//
// # What is promised
//
//   - Nothing is ever written to legacy but batches that the target holds, each
//     at the offset that it has there, one request in flight per partition. After
//     any error, leader or epoch change, lost connection or restart nothing is
//     sent before legacy's log end (OffsetForLeaderEpoch of the current epoch:
//     ListOffsets tells the high watermark) has been read, and what stands there
//     has been read back and compared. We call that settling.
//   - A partition whose logs differ is never written to again, and says so with
//     the offset: diverged. A batch that legacy refuses without writing anything
//     stalls its partition; it is tried again until legacy takes it.
//   - A digest chain counts only bytes that were read back from legacy, with
//     their checksums recomputed.
//   - While home is legacy, legacy is the authority: where its log was cut or
//     rewritten by an unclean election the copy is dropped and made again.
//   - Legacy's log start is followed, never overtaken.
//
// # What is not
//
//   - Requests of a dead connection that a broker still had in its queue cannot
//     be fenced by any client. Quiet time makes them unlikely, the comparison
//     finds them; a fork that they cause is reported, not prevented.
//   - Transactional and control batches are copied to the target but not
//     replayed: a partition stalls on one.
//   - Batches of the formats before version 2 stop a partition.
//   - Compaction removes batches on legacy. On a compacted topic a batch that is
//     missing on legacy, or has shrunk, is counted and not called a difference.
//
// # Goroutines
//
// New starts none. Run starts all of them and waits for them: one conductor
// (topology, imports, pacing) and, per legacy broker that leads anything, one
// reader (a long-polling Fetch over all its partitions) and one writer (settling,
// and rounds: the head batch of every partition with a backlog in one Produce).
// Each has a connection of its own. Ends, HomeEnd and Verify run on their
// caller's goroutine over connections of their own and never wait behind a poll.
//
// # Locks
//
// twin.reading (one applier of legacy's bytes at a time) before twin.mu (small
// fields, never held over I/O). Mirror.mu guards the tables and is taken alone
// or before twin.mu.
//
// # Crashes
//
// Nothing is stored here. After a start the target's own log says where the
// forward copy goes on, SetHome says where replay began, the log remembers
// roughly how far it came (Bounds.Replayed), and settling finds out the rest.
package mirror
