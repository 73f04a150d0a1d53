// Package server puts the parts together: the proxy on the wire, the embedded
// broker over its engine, the mirror between the clusters, the flip machine, and
// the admin address for commands. It is the only place where they meet, and all
// that stands here is translation from the words of one into those of another.
//
// # The order of a start
//
// The data folder is locked and its log recovered. Legacy is awaited, with
// back-off, for as long as the configuration says; its cluster id must be the
// one that the folder was made for, and its owner record must name this folder.
// Then every unit that a crash left in the middle of a move is resumed or undone,
// every route is given to the proxy and the mirror, and only then do listeners
// open: no client is served under a route that is not known to be right.
//
// # What it promises
//
//   - Start returns when clients can be served, or with an error that says what
//     to do. After an error nothing is left open.
//   - A second server on the same data folder, a folder of another cluster, and
//     an empty, copied or restored folder in front of a legacy that another one
//     owns are refused.
//   - Close stops everything and waits for it. What was in the middle of
//     something survives that as it survives a kill.
//
// # Goroutines
//
// Start runs one goroutine per part (proxy, mirror, agent, tending of units, feed
// of the live view, admin) in one group. The first that fails ends all; Wait
// returns its error.
package server
