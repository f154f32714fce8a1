"""What stands between Faust's stream and the work of a role."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from faust.types import AppT, StreamT

from streams.batches import Batch, StaleBatch
from streams.transport import consumer_of


def each_batch(
    app: AppT, handle: Callable[[Batch], Awaitable[None]]
) -> Callable[[StreamT[Batch]], Coroutine[Any, Any, None]]:
    """An agent that begins each batch and hands it to `handle`, which completes it, now or later.

    A stale batch is dropped. Anything else that `handle` raises ends the process: Faust would go on with the
    next event. That includes what is no Exception, such as a panic of polars.
    """

    async def agent(stream: StreamT[Batch]) -> None:
        consumer = consumer_of(app)
        async for batch in stream:
            try:
                consumer.begin(batch)
                await handle(batch)
            except StaleBatch as why:
                consumer.log.info("%s", why)
            except asyncio.CancelledError:
                raise
            except BaseException as why:
                consumer.fail(f"the agent of {batch} raised {why!r}", why)
                raise

    return agent
