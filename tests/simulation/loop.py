"""An event loop that does nothing by itself: the world decides when a callback, a timer or a thread's work is due."""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

Job = tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class SimLoop(asyncio.AbstractEventLoop):
    """One process's loop. Work for threads waits in `jobs`, a queue for each executor: a thread does one at a time."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.ready: deque[asyncio.Handle] = deque()
        self.timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.jobs: dict[object, deque[Job]] = {}
        self.begun: list[Coroutine[Any, Any, Any]] = []
        self._numbers = 0

    # ---- what asyncio asks of a loop -----------------------------------------------------------------

    def time(self) -> float:
        return self._now_s()

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self.timers, (when, self._numbers, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **named: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        task = asyncio.Task(coro, loop=self, **named)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # the process may die in the middle of it
        self.begun.append(coro)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        self.jobs.setdefault(executor, deque()).append((future, func, args))
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What a task raises is told by its consumer's `fail`."""

    # ---- what the world asks of it -------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    @property
    def has_callbacks(self) -> bool:
        return bool(self.ready) or bool(self.timers and self.timers[0][0] <= self.time())

    def run_callbacks(self) -> None:
        """Everything that is ready, and what becomes ready by it."""
        with self.running():
            while self.has_callbacks:
                while self.timers and self.timers[0][0] <= self.time():
                    self.ready.append(heapq.heappop(self.timers)[2])
                handle = self.ready.popleft()
                if not handle.cancelled():
                    handle._run()

    def run_job(self, executor: object) -> None:
        """What one thread does next. Its result is told to the loop; what no except may catch goes on to the world."""
        queue = self.jobs[executor]
        future, func, args = queue.popleft()
        if not queue:
            del self.jobs[executor]
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001  # as a thread of a pool does
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)

    def close_tasks(self) -> None:
        """The process is dead: nothing of it runs again. Python complains of coroutines that never began."""
        for coro in self.begun:
            if inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
                coro.close()
        self.begun.clear()
        self.ready.clear()
        self.timers.clear()
        self.jobs.clear()
