"""A consumer on librdkafka that prints what Kafka's VerifiableConsumer prints: one JSON line for every assignment, record and commit.

Settings come as KEY=VALUE; group.id is one of them. It commits after every handful of records and ends on SIGTERM.
"""

import argparse
import signal

import confluent_kafka

import tell

# How many records are handed out between two commits at most, and how long one waits for them.
HANDFUL = 500
PATIENCE = 0.1


def spots(partitions):
    return [{"topic": p.topic, "partition": p.partition, "offset": p.offset} for p in partitions]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", required=True)
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE")
    options = parser.parse_args()
    consumer = confluent_kafka.Consumer(tell.settings(options.settings), logger=tell.log)

    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)

    consumer.subscribe(
        [options.topic],
        on_assign=lambda _, partitions: tell.event("partitions_assigned", partitions=spots(partitions)),
        on_revoke=lambda _, partitions: tell.event("partitions_revoked", partitions=spots(partitions)),
        on_lost=lambda _, partitions: tell.event("partitions_revoked", partitions=spots(partitions)),
    )
    while running:
        ends = {}
        for message in consumer.consume(HANDFUL, PATIENCE):
            if message.error():
                tell.event("consumer_error", message=str(message.error()))
                continue
            tell.event(
                "record_data",
                topic=message.topic(),
                partition=message.partition(),
                offset=message.offset(),
                value=message.value().decode(),
            )
            ends[(message.topic(), message.partition())] = message.offset() + 1
        if not ends:
            continue
        wanted = [confluent_kafka.TopicPartition(t, p, o) for (t, p), o in ends.items()]
        try:
            committed = consumer.commit(offsets=wanted, asynchronous=False)
        except confluent_kafka.KafkaException as error:
            tell.event("offsets_committed", success=False, error=str(error), offsets=[])
            continue
        for failed in (p for p in committed if p.error):
            tell.event("offsets_committed", success=False, error=str(failed.error), offsets=[])
        tell.event("offsets_committed", success=True, offsets=spots(p for p in committed if not p.error))
    consumer.close()


if __name__ == "__main__":
    main()
