"""Bytewax: its Kafka source, `filter_map` on each message, and a sink that nothing reaches."""

from __future__ import annotations

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main

from bench.peer_jobs.job import Given, Job, decode, librdkafka

BATCH = 1_000


def main() -> None:
    given = Given.from_arguments()
    job = Job(given)
    config = librdkafka(given)
    del config["bootstrap.servers"], config["group.id"], config["auto.offset.reset"]  # the source's own

    def fold(message: KafkaSourceMessage[bytes, bytes]) -> None:
        if job.add(decode(message.value)):
            job.end()

    flow = Dataflow("peers")
    source = KafkaSource([given.bootstrap], [given.topic], tail=True, batch_size=BATCH, add_config=config)
    op.output("out", op.filter_map("fold", op.input("traces", flow, source), fold), TestingSink([]))
    run_main(flow)


if __name__ == "__main__":
    main()
