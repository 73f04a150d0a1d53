// Bench compares Switchback with a peer, in one run on one machine:
//
//	go run ./e2e/bench NAME [--json] [flags of the case]
//
// A case is one file, named after it, with its parts in files that begin with its name. It prints a table of case, metric, ours, peer, ratio, aim
// and met; with --json one object {"bench", "machine", "rows"}. The exit code is 0 when every row that has an aim met it, 1 when one did not, 2 when
// the run itself failed.
//
// Promises: what is compared runs alternately and in processes of its own; CPU seconds are those that the kernel counts for that process, not
// shares of a total. No promise: absolute figures. They are this machine's, at this minute; the ratios are what counts.
//
// Goroutines: those of the running case, which waits for them. Children die with the bench (see machine).
package main
