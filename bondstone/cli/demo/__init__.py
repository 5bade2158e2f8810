"""`bond demo`: the guided tours."""
