"""What holds across experiments: how many run at once, which may not run together, what all may spend."""
