"""Thirty-two faults put into a running installation, each followed by an independent look at what is left.

    python -m tests.faults [NAME ...] [--kills N] [--minutes N]

`scripts/` holds one fault a module: what is done, and what must hold. The parts are the real ones: Apache Kafka, the
workers and controllers as processes, ClickHouse's engine. `sender.py` is the service; it writes a plain log of what it
sent. `verifier.py` is a process of its own without any code of stoploss: it reads that log and the topics, and says
what was lost, what was counted twice, and what stands in a wrong state.

A fault stands as long as is demanded of it, up to ten minutes, and so does a run of all of them for hours; `--minutes`
cuts it. Between client and server is a proxy of our own (`proxy.py` says why it is no toxiproxy): it cuts, resets and
holds wires, makes them slow or narrow, holds back one kind of reply, and swallows replies.

Killed at random are intake, joiner, resolver, registrar, judge, courier, recorder, the controller and the broker; the
service sends traces, outcomes with their context, and bare ones, and all of them are looked for. The role `otlp` is
killed in `tests/otlp/test_role.py::test_a_worker_that_is_killed_loses_no_span_that_waited_and_no_flag_that_was_logged`:
what it gives on is made of several spans, so which traces are due can only be told where the spans are made.

A recovery lasts from the kill until the process is ready; where it was killed again before, from the first kill. That
95 % of them last less than 15 s is demanded by this command alone, and only of faults that do nothing but kill: as a
test the same faults run on machines that do other things at once.
"""
