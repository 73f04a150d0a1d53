// Package wal is one write-ahead log per node: records of many partitions, group
// commit, one sync per group.
//
// It promises: a record whose Waiter was told nil survives any crash of the
// process and of the machine, byte for byte; records are committed and told in
// the order in which Append was called; a torn group at the end, which nobody
// was told of, disappears at the next Open; anything else that does not read as
// it was written makes Open refuse with the file and the offset (CorruptError).
// Records are counted from 1 on, across restarts. Trim removes the oldest of them,
// a segment at a time; what must still be there is the caller's to know.
// It does not know what a record means and does not replicate: durability is that
// of the disk below Dir.
//
// One blind spot is inherent: after a crash, damage to the very last group looks
// like a group that was being written. A clean Close puts a seal behind it.
//
// # Format
//
// Little endian. Dir holds segments, named by their number, <16 hex digits>.wal,
// dense and ascending from the oldest that was not trimmed on. A segment is a 4096-byte header and frames:
//
//	header  0 magic "SBWAL\x00\x00\x02"   8 folder [16]   24 segment u64
//	       32 incarnation u64   40 first LSN u64   48 first record u64
//	       56 salt u32   60 CRC-32C of 0..60
//	frame   0 magic u32   4 body length u32   8 LSN u64   16 incarnation u64
//	       24 segment u32   28 records u32   32 first record u64
//	       40 CRC-32C of the body   44 CRC-32C of 0..44   48 body; the next frame
//	       starts at a multiple of 512
//	record  0 kind u8   1 zero [3]   4 partition u32   8 topic [16]
//	       24 head length u32   28 body length u32   32 head, body
//
// A frame is one group commit. LSNs are dense over the whole log: a frame is
// written only after the one before it was synced, so the in-flight window is
// one frame, and a readable frame behind an unreadable one proves corruption.
// Every CRC starts from the segment's random salt, because bodies hold bytes
// that clients chose: nobody can send a batch that looks like a frame. Frames
// are padded to 512 bytes so that no write touches a sector that holds
// acknowledged bytes. A segment's file is zero-filled a mebibyte ahead of the
// frames: overwriting written space halves the time of a sync (measured), since
// no file system metadata changes. A new segment appears under its name only
// when its header is durable.
//
// # Goroutines
//
// Open starts two and Close waits for both. The committer takes the oldest
// group, writes and syncs it; while it does, appenders fill the next (Append
// copies). The announcer tells the Waiters, one after the other, so that telling
// overlaps the next sync. There is no linger: a group is what came while the
// disk was busy.
//
// # Failure
//
// A failed write or sync ends the log: that group and everything after it is
// told ErrDead, Dead is closed, and nothing is tried again, because after a
// failed sync nobody knows what the disk holds. Open finds out.
package wal
