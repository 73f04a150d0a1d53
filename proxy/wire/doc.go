// Package wire is Kafka's wire format as the proxy needs it: frames, headers,
// walkers that find the few fields of a message that matter, an encoder for
// Fetch answers that copies no record, a reader of whole frames and a client
// connection for requests of our own.
//
// Words: a frame is one request or response without its four bytes of size,
// unless a function says that it takes or returns the size too.
//
// Promises. Walkers allocate nothing, see exactly what kmsg's decoder sees
// (fuzzed at every version), and answer a malformed message with an error that
// wraps ErrMalformed, never with a panic. Byte slices that they hand out alias
// the frame. No answer encoded here carries the KIP-951 hints in a version in
// which the protocol has none (Produce below 10, Fetch below 16 for endpoints):
// librdkafka 2.11.1 dies of them.
//
// No promises. Versions below Produce 3 and Fetch 4 (removed by KIP-896) are
// not walked. Nothing here knows about routes.
//
// Goroutines: a Conn has one, its reader, which Close and Abort wait for.
// Everything else runs on its caller. Nothing survives a crash.
package wire
