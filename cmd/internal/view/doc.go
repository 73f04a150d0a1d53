// Package view is the live picture of the migration: routes, partitions, the
// lag of each copy, legacy's brokers and the connected clients, in a go-memdb
// with watches.
//
// The server feeds it from what the siblings report; `status` reads it. A
// Status is taken from one snapshot, so its parts belong together, and Watch
// pushes a new one when something has changed and never because time has
// passed. Feeding a row that equals the one that is there wakes nobody.
//
// It is a picture for people and scripts: nothing decides by it, it may be some
// moments old, and it is built anew at every start. A commit costs some
// microseconds, so it is fed a few times a second and never from the data path.
//
// Memory is bounded: partitions, routes and brokers by what legacy has, clients
// by Limits, beyond which they are only counted. The package owns no goroutine.
// All methods may be called from many goroutines.
package view
