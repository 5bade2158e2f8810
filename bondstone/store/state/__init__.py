"""The state log of a step: an append-only log with a fence in place of a lock."""
