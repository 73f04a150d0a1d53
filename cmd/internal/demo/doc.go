// Package demo is `switchback demo`: a whole migration in under a minute, with
// its own evidence.
//
// It starts a legacy cluster of three brokers in this process (kfake), or takes
// a topic of its own on a real one, and a Switchback in front of it. Idempotent
// producers and two consumer groups work through it while the topic is
// mirrored, flipped, relocated, rolled back and verified. Every line it tells
// is something that was measured.
//
// It trusts nothing that Switchback says about the records: a ledger of its own
// holds what producers were told, the log is read back from legacy itself, and
// the two are compared (ledger.go). What Switchback reports (digests, holds) is
// told beside that, as what it is.
//
// Goroutines: a few per client, all of them ended by the time Run returns, on
// success, failure and interruption alike; so are topic, groups, data folder
// and the cluster that it made. A kill -9 leaves the topic (its name begins
// with "switchback-demo-") and a temporary folder behind.
package demo
