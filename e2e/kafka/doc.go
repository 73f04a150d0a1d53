// Package kafka starts real Apache Kafka 4.2 clusters in KRaft mode on loopback: one process that is only a controller, and one to three
// brokers, so that any broker can be killed or paused while the cluster goes on.
//
// The jars come from Maven by pom.xml, once, into the user's cache folder under a name that changes with the pom. Beside them stand two
// archives of loaded classes (JEP 350), made by running a small cluster once; with them and without the second JIT compiler three
// brokers are up in about four seconds on two cores. Nothing is ever written into the tree.
//
// It promises that brokers listen on loopback only, on ports of their own which they keep over a restart; that a cluster of one test binary
// runs alone on this machine (others wait); that the processes die with the tests; that what brokers logged is printed when
// a test fails. Data lies in the test's temporary folder and goes with it.
//
// Goroutines: those of machine.Process, one per JVM.
package kafka
