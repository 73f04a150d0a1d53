// Package storage keeps the logs of all partitions of a node over one write-ahead
// log.
//
// It promises:
//   - What Append answered without an error is at that offset for ever, byte for
//     byte as it was answered, whatever crashes. The same holds for everything
//     below Bounds().Durable.
//   - Nobody is shown what is not durable: the high watermark is the durable end.
//   - A replica's batch is kept as it came, at the offset at which it came.
//   - A leader's batch that a Kafka 4.2 broker with the topic's Rules would refuse
//     is refused, with the same class of error, before anything is written. A
//     repeated one of a producer's last five is answered with its original
//     offset, also after a restart and after the log moved here from legacy.
//   - Memory is bounded but for the index (40 bytes a batch) and the producer ids
//     that have not expired.
//
// It does not promise replication (durability is that of one disk), and in this
// form neither retention nor compaction: everything stays in the WAL.
//
// # Shape
//
// An Engine is a folder: LOCK (held while open), FOLDER (whose it is), wal/. A
// Log is a partition: an in-memory index of its batches, producer states, open
// transactions, leader epochs, and a digest chain, all derived from the WAL's
// records and nothing else. Two ways lead in, Append for a leader and Replicate
// for a copy; both, and Lead and Follow, which open and close the first, take the
// log's lock, so they interleave in one order, which is the WAL's order too.
// Reads look the batches up under the lock and read them from the WAL's segments
// with pread, without it.
//
// A batch has two moments: take (it has its offset and counts for what comes
// next) and settle (it is durable and may be shown). Recovery runs both for every
// record of the WAL, so what is rebuilt is what was there.
//
// # Goroutines and locks
//
// None but the WAL's two. Completions of Append run on the WAL's announcer, one
// at a time, in order per partition. Locks: Engine.mu before Log.mu before the
// WAL's; none is held while a completion runs or a byte is read.
//
// # At a crash
//
// Open replays the WAL. A batch that was queued and not durable may or may not be
// there; nobody was told. No log leads after Open: who leads is not the storage's
// to know. A failed write or sync ends the Engine (Dead): in-memory state is then
// ahead of the disk and only a new Open knows.
package storage
