"""A simulator of the whole: the code of streams/ and of the core on a fake broker, driven by one seed."""
