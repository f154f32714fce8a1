"""A controller's answers to probes: it lives while it starts, and no longer where its loop stands still."""

from __future__ import annotations

from stoploss.control.pulse import BLOCKED_S, Pulse


def test_a_loop_that_stands_still_is_neither_ready_nor_alive() -> None:
    now_s = [0.0]
    pulse = Pulse(lambda: now_s[0])
    assert (pulse.blocked(), pulse.not_ready()) == ([], ["it has not caught up with the commands yet"])
    now_s[0] = BLOCKED_S + 1
    assert pulse.blocked() == []  # catching up takes what it takes
    pulse.beat()
    assert pulse.not_ready() == []
    now_s[0] += BLOCKED_S + 1
    assert pulse.blocked() == pulse.not_ready() == ["the loop has not come round for 91 s"]
