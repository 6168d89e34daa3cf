"""Jobs on disk, their order, their feed, and the thread that has them done."""
