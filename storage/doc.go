// Package storage keeps the logs of all partitions of a node: what is new in one
// write-ahead log, everything in objects.
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
//   - What cannot be read is an error that names the log and the object, never a
//     shorter answer and never a gap.
//   - While the object store or the catalog is away, appends and reads of what is
//     recent go on; the WAL grows by what is appended.
//   - Nothing is removed from the object store that a log needs, or needed ten
//     minutes ago.
//   - Memory is bounded but for the index of what the WAL still holds (40 bytes a
//     batch), 100 bytes an extent, and the producer ids that have not expired.
//
// It does not promise replication of what is in the WAL alone (durability is that
// of one disk until the next flush). In this form it has no compaction, and
// deletes only what it is told to (DeleteBefore, Expire).
//
// # Shape
//
// An Engine is a folder: LOCK (held while open), FOLDER (whose it is), wal/, and
// unless they are elsewhere catalog.db and objects/. A Log is a partition:
//
//	extents        stretches of it that stand in objects       the catalog's state has them
//	index          its batches that the WAL holds              made from the WAL
//	producers, open transactions, leader epochs, digest        both
//
// The catalog's state of a log says what all WAL records up to a certain number
// made of it, so that the WAL can drop them. Open takes the states over and
// replays the records that they do not cover. A flush moves forward what they
// cover: objects first, then the catalog, then the WAL (flush.go has the steps).
//
// Two ways lead in, Append for a leader and Replicate for a copy; both, and Lead
// and Follow, which open and close the first, take the log's lock, so they
// interleave in one order, which is the WAL's order too. A batch has two moments:
// take (it has its offset and counts for what comes next) and settle (it is
// durable and may be shown). Recovery runs both for every record that it replays,
// so what is rebuilt is what was there.
//
// Reads look the batches up under the lock and read them without it: from the
// WAL's segments what those still hold, the rest by a scan over extents (cold.go)
// through a cache. Who asked looks afterwards whether the log is still the same.
//
// # Departures from the reference design
//
// One kind of object instead of deltas and streams: a partition with 8 MiB or more
// in a flush gets objects of its own, but under the same kind of key, so that a
// state names an object in 16 bytes. A state stands in the catalog whole, memory
// of up to 8 KiB included, so that Open reads no object for most logs.
//
// # Goroutines and locks
//
// The WAL's two, the cache's one per read, and the flusher. Completions of Append
// run on the WAL's announcer, one at a time, in order per partition. Locks:
// Engine.mu before Log.mu before the WAL's; none is held while a completion runs,
// a byte is read or the catalog is asked.
//
// # At a crash
//
// A batch that was queued and not durable may or may not be there; nobody was
// told. No log leads after Open: who leads is not the storage's to know. A failed
// write or sync of the WAL ends the Engine (Dead): in-memory state is then ahead of
// the disk and only a new Open knows. A crash in a flush leaves objects that
// nobody names.
package storage
