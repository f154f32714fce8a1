"""Planning: before the start, how long each guardrail needs, what that costs, and which one can never fire."""
