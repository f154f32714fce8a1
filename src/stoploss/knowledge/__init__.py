"""What past experiments taught: searched by word, and found by likeness when a similar one is registered."""
