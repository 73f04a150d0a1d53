// Package history is the checker: it is told what clients were told, and what the log holds at the end, and says where the two differ.
//
// What it checks, and what every check is called in a report:
//
//	lost           an acknowledged record is not at its acknowledged offset
//	forked         two acknowledgements name the same offset
//	duplicated     a record stands in the log more than once
//	reordered      a producer's records stand in a partition in another order than they were sent in
//	strange        the log holds a record that nobody sent
//	failed         a client was told of an error: a record, a commit
//	uncommitted    a group's committed offset went back
//	reset          a consumer's position went back, or started before the group's committed offset
//	skipped        a consumer's position jumped over a record, or started where nobody had committed
//	misread        a consumer read something else at an offset than the log holds
//	unread         a group that read to the end did not see a record
//
// Read twice, after a rebalance or a restart of a consumer, is allowed by Kafka's at-least-once and is counted, not a fault; so is a record
// in the log that was sent and never acknowledged.
//
// It promises to miss none of these faults in what it was told; each has a test with the fault planted. It does not know what it was not
// told: a client that reports nothing is not checked, so scenarios also demand that there were enough acknowledgements. Recording may be done from
// many goroutines; a History owns none and keeps everything in memory, about 100 bytes per event.
package history
