// Package object is where batches go for good: immutable objects in a store, and
// the format of what is in them.
//
// A Store promises: an object that Put has returned for is there, whole, until it
// is deleted, whatever crashes; one that it has not returned for is there as a
// whole or not at all. Every Put is under a key that was never used, so a lost
// answer may be followed by another Put under another key.
//
// The format promises that a flipped bit is noticed before a byte is believed,
// and that an object is opened by one read of its end. It does not know what a
// batch means.
//
// # Format
//
// Little endian; numbers in the index are varints. An object is
//
//	header   0 magic "SBOBJ\x00\x00\x01"   8 id [16]   24 created i64 ms
//	blocks   whole batches of one partition each, about 512 KiB, and sections
//	index    partitions with their blocks, sections; each with its CRC-32C
//	footer   0 index position u64   8 index length u32   12 index CRC-32C
//	        16 id [16]   32 created i64 ms   40 magic   48 CRC-32C of 0..48
//
// The header repeats what the footer says, for whoever has only the beginning.
//
// # Goroutines
//
// None.
package object
