"""From stored rows to what people read: status, live frames, explanations and reviews. Pure: no I/O, no clock."""
