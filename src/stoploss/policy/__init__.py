"""The organisation's policy: what it asks of every experiment, as one file that is versioned like a spec."""
