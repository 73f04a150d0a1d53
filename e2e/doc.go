// Package e2e shows that the built binary keeps its promises to real clients on a real Apache Kafka. It trusts nobody: it
// speaks to Switchback over sockets and the command line only, and imports nothing of ours but offsets and storage/batch,
// which it needs to read what brokers answer.
//
// The workshop:
//
//	machine   programs, ports, child processes, the cache folder, the rules for skipping
//	raw       one Kafka connection and kmsg messages, nothing in between
//	kafka     real clusters: Apache Kafka 4.2 in KRaft mode, one controller and one to three brokers
//	clients   Java, librdkafka and franz-go clients that report every acknowledgement and every record
//	history   the checker: nothing lost, doubled, reordered, reset or taken back
//	server    the switchback binary as a child process
//	house     rules of this repository that a machine can check
//	lint      a module of its own that pins the linter
//
// The scenarios are the tests of this package, one file each. By default they run in a short size; with SWITCHBACK_LONG=1 they run
// as long as the claim that they back. They are skipped, with a line that says what to install, where java, mvn or python3 is
// missing; with SWITCHBACK_E2E=require that is a failure.
package e2e
