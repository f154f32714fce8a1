"""Quix Streams: its own Avro deserializer, and `update` for each trace."""

from __future__ import annotations

from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer

from bench.peer_jobs.job import SOURCE, Given, Job, Record, librdkafka


def main() -> None:
    given = Given.from_arguments()
    job = Job(given)
    config = librdkafka(given)
    app = Application(
        broker_address=config.pop("bootstrap.servers"),
        consumer_group=config.pop("group.id"),
        auto_offset_reset=config.pop("auto.offset.reset"),
        consumer_extra_config=config,
        state_dir=str(given.result.parent / "quix"),
        loglevel="WARNING",
    )
    topic = app.topic(given.topic, key_deserializer="bytes", value_deserializer=AvroDeserializer(SOURCE))

    def fold(trace: Record) -> None:
        if job.add(trace):
            job.end()

    app.dataframe(topic).update(fold)
    app.run()


if __name__ == "__main__":
    main()
