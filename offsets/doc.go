// Package offsets holds the arithmetic of a migration: which offset on one
// cluster is which on the other, which leader epoch a client is shown, whether
// two logs are equal.
//
// # The names
//
// A [Partition] is a topic id and an index, a [Side] is one of the two clusters.
// A topic keeps its id when it moves, so a Partition names the same log on both
// sides, and a topic that was deleted and created again is another one.
//
// # Two domains of epochs
//
// The log epoch, in batch headers and in answers to OffsetForLeaderEpoch, is
// legacy's real one everywhere: [Epochs] is the list of where each began, and
// answers as a Kafka leader answers. The shown leader epoch, in Metadata and in
// current_leader_epoch of requests, is legacy's plus a shift that only rises:
// [Shown] holds its rules. Every scheme that mixed the two made some client
// reset or repeat.
//
// # Equality
//
// A [Digest] chains (base offset, length, CRC) of every batch of a log from its
// start. Two logs whose digests are equal at an offset hold the same batches
// below it, up to the strength of the batches' own CRC-32C and of a chain of 128
// bits that is made against accidents and not against an adversary. A chain must
// be fed with what was read back from its side, never with what was sent there.
//
// # Where identity is lost
//
// A [Map] is for where the same record has different offsets: runs of
// consecutive offsets, translated exactly within a run and to the next record
// between two runs. It never estimates.
//
// # What it does not do
//
// No I/O, no goroutine, no lock, no clock. Everything is a value; a method that
// changes one returns the changed value. Nothing here is safe for concurrent
// writes, everything is for concurrent reads. A crash is no concern of this
// package: callers store its values, and their JSON is meant to be stored.
package offsets
