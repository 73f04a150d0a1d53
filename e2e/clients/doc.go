// Package clients runs the clients that people run: Java's (VerifiableProducer, VerifiableConsumer with either group protocol,
// ProducerPerformance, the console tools), librdkafka's through confluent-kafka, and franz-go's. Each tells a history.History every
// acknowledgement, record, commit and error, keeps the time between two of them (Pulse), and counts what its log says above INFO (Log).
//
// Clients number the records that they send; the value of a record is "PRODUCER.NUMBER" in all of them, so that anybody can tell whose
// record this is. A Java producer's name is a number, as VerifiableProducer wants it.
//
// It promises that a client which was stopped has told everything that it was told. A client that was killed has told what reached us.
//
// Goroutines: the two readers of every child process; in-process clients own one each. Stop waits for them.
package clients
