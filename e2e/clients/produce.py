"""A producer on librdkafka that prints what Kafka's VerifiableProducer prints: one JSON line for every acknowledgement and failure.

Settings come as KEY=VALUE. It ends on SIGTERM, after everything has been acknowledged or has failed.
"""

import argparse
import signal
import sys
import time

import confluent_kafka

import tell


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--name", required=True, help="stands in front of the number of every record")
    parser.add_argument("--rate", type=int, default=0, help="records per second; 0: as fast as it goes")
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE")
    options = parser.parse_args()
    producer = confluent_kafka.Producer(tell.settings(options.settings), logger=tell.log)

    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)

    def acknowledged(error, message):
        value = message.value().decode()
        if error is not None:
            tell.event("producer_send_error", topic=message.topic(), value=value, message=str(error))
            return
        tell.event(
            "producer_send_success",
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            value=value,
        )

    number = 0
    began = time.monotonic()
    while running:
        if options.rate > 0:
            ahead = began + number / options.rate - time.monotonic()
            if ahead > 0:
                producer.poll(ahead)
                continue
        try:
            producer.produce(options.topic, f"{options.name}.{number}", on_delivery=acknowledged)
            number += 1
        except BufferError:
            producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(30)
    if left:
        sys.exit(f"{left} records of unknown outcome")


if __name__ == "__main__":
    main()
