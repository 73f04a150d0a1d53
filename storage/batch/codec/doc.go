// Package codec compresses and decompresses the records of a batch, the bytes
// behind its header.
//
// It promises to read what a Java broker reads, not more: a batch that legacy
// would refuse at replay must not be acknowledged or written here. What it writes
// is framed as Kafka's clients frame it, so that every client reads it. It never
// panics on what it is given to read, and Inflate makes nothing larger than its
// limit.
//
// It does not promise the bytes that another compressor would make of the same
// records, only the same records. A zstd frame may ask for a window of 128 MiB,
// Kafka's own bound, on top of what is read.
//
// The package starts no goroutine. A Reader belongs to one goroutine at a time;
// readers and writers are pooled per codec.
package codec
