// Package broker gives the logs of package storage Kafka's meaning: it takes a
// decoded request and a caller and hands back a response. It opens no socket,
// knows no cluster but the one it is part of, and answers what a stock Kafka 4.2
// broker would answer, error codes included; errors.go is the one place where a
// storage error becomes a code.
//
// It promises:
//   - Submit appends what has an order (Produce) before it returns, partition by
//     partition in the order of the request, so whoever submits the requests of a
//     connection one after the other keeps that connection's order.
//   - done is called exactly once per Submit: with the answer, after the batches
//     are durable where there are any.
//   - a Fetch that waits is woken by data and by its timer, never by polling. It
//     gets the first batch whatever its size (KIP-74).
//   - a topic's id, name, partitions and configs survive a crash once Import has
//     returned. A crash inside Import or Remove is finished by New.
//
// It does not promise:
//   - authorisation, quotas, leader epochs: the proxy has settled them. The
//     current_leader_epoch of a request is ignored, so are replica ids; KIP-951
//     hints are never given.
//   - transactions: Produce with a transactional id or a transactional batch is
//     refused whole, with POLICY_VIOLATION, before anything is appended.
//   - fetch sessions: every fetch is a full one, the session id is always 0.
//   - that a request sees what an earlier one on its connection has appended
//     before that one is answered: Kafka reads a connection's next request after
//     it has answered the last, Submit does not wait.
//
// A partition is led here or followed (Lead, Follow). Produce and DeleteRecords
// need a leader and answer NOT_LEADER_OR_FOLLOWER without one; Fetch, ListOffsets
// and OffsetForLeaderEpoch are served in both states, because the log is the same
// log and the proxy keeps reads honest.
//
// Goroutines: New starts none, and Retain runs on its caller's. A waiting Fetch is
// one goroutine, so is one that reads from objects, a ListOffsets while it searches
// there, and a DeleteRecords while the log start becomes durable; at most
// Config.MaxWaiting of them together. Close ends the waits and
// waits for all. done is called on the submitter's goroutine before Submit
// returns, on one of these, or on the log's committer: it must not block, must not
// call back into the broker, and the submitter must not hold a lock that it takes.
//
// A crash loses nothing that was answered: all state is the engine's and the
// catalog's.
package broker
