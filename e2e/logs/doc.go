// Package logs reads whole partition logs, from one address and with raw Fetch requests: what stands there, batch by batch, not what a client
// makes of it. Two clusters hold the same log when the two readings are equal.
//
// It promises that every batch from the log's start to its high watermark is in the answer once, with its CRC checked, and that what was asked
// is answered by the address that was asked. A log that is written to meanwhile is read to the high watermark of the last answer. It owns no goroutine.
package logs
