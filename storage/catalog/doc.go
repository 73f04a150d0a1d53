// Package catalog keeps the small, precious state of a node: topics, routes,
// instances. It is the only arbiter of who owns what: safety rests on its
// compare-and-set, never on leases or clocks.
//
// It promises that a Txn is atomic and durable when it returned nil, that every
// change of a key gives it a higher revision than the catalog ever gave before,
// and that a watcher is woken at least once after each change under its prefix.
// It does not promise that a Txn that failed with ErrUnknown did not happen, and
// it is no place for anything that is written per produced batch.
//
// Two implementations are foreseen: bbolt for one node (OpenBolt: one file, no
// port) and etcd for a cluster. Both run the suite in catalogtest, and both keep
// to etcd's limits, so that what runs here runs there.
//
// Goroutines: a watch ends with its context by context.AfterFunc; otherwise none.
//
// At a crash bbolt keeps every Txn that returned, and all or nothing of the one
// that did not.
package catalog
