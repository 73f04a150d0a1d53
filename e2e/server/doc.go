// Package server runs the switchback binary as a user does: built once, started with a configuration file, driven by its own commands.
//
// It promises that a server which is Up has answered that it is ready; that after Kill or a failpoint the same data folder, ports and
// configuration are used again; that the server dies with the tests and that the end of its log is printed when a test fails. It reads what the
// commands print with --json and nothing else: what is not there is not known to a user either.
//
// Goroutines: those of machine.Process.
package server
