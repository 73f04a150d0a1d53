// Package relay is a bare TCP relay on loopback that can be told to misbehave: late, stalled, cut. It stands between switchback and a legacy broker
// (kafka.Options.Front), or serves as the plain peer that the proxy is compared with.
//
// It knows one thing of Kafka: the client id in the first request of a connection, so that faults can be aimed at some clients. It promises
// that bytes are never changed or reordered; that what was stalled is delivered after release even when the client is gone by then, as a
// request that sat in a broker's queue would be; and that Close ends and waits for all goroutines: an acceptor, and two per connection.
package relay
