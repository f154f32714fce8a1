"""The side that obeys: verify a command, decide whether to obey, act, remember, acknowledge, tell people."""
