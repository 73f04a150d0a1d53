// Package raw is one connection to one address that speaks Kafka, with kmsg messages and nothing in between: no metadata, no retries, no
// pool. Tests use it where a client would hide what they want to see: which listener answers, in which bytes, at which version.
//
// It promises that answers are returned in the order of their requests and that a request is sent exactly once. A connection may be used
// by one goroutine at a time; it owns none. After an error it is of no use any more.
package raw
