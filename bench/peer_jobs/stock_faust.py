"""Stock Faust: an agent that is given one event after the other."""

from __future__ import annotations

import tempfile

import faust
from faust.types import StreamT

from bench.peer_jobs.job import SESSION_S, Given, Job, decode


def app_of(given: Given) -> faust.App:
    job = Job(given)
    app = faust.App(
        given.group,
        broker=f"kafka://{given.bootstrap}",
        datadir=tempfile.mkdtemp(dir=given.result.parent),
        autodiscover=False,
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=float(SESSION_S),
        broker_request_timeout=float(SESSION_S + 30),
        loghandlers=[],
    )
    topic = app.topic(given.topic, key_serializer="raw", value_serializer="raw")

    @app.agent(topic)
    async def fold(values: StreamT[bytes]) -> None:
        async for value in values:
            if job.add(decode(value)):
                job.end()

    return app


def main() -> None:
    worker = faust.Worker(app_of(Given.from_arguments()), loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
