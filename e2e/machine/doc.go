// Package machine is what a test needs of the machine under it: programs that must be installed, free ports, child processes
// and a cache folder.
//
// It promises that a child process never outlives the process that started it (the kernel kills it), that only processes
// which this package started are ever signalled, that two test binaries which run at the same time are not handed the same port,
// and that a cache entry is either whole or absent. It promises nothing about the machine's speed.
//
// Goroutines: each Process owns one, which lives exactly as long as the child does. After a crash of the tests the children are dead,
// ports and locks are free (the kernel holds them), and half-filled cache entries are removed by the next one who needs them.
package machine
