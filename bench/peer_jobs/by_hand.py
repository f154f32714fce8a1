"""By hand: confluent-kafka's consume, fastavro, dicts."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException

from bench.peer_jobs.job import Given, Job, decode, librdkafka


def main() -> None:
    given = Given.from_arguments()
    job = Job(given)
    consumer = Consumer(librdkafka(given))
    consumer.subscribe([given.topic])
    while True:
        for message in consumer.consume(5_000, 0.1):
            if message.error() is not None:
                raise KafkaException(message.error())
            if job.add(decode(message.value() or b"")):
                job.end()


if __name__ == "__main__":
    main()
