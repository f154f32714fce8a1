"""What follows harm: the traces that showed it, a pack that replays elsewhere, a post-mortem that is seen through."""
