"""What would have happened under other rules: a recorded ledger, judged by another spec of the same experiment."""
