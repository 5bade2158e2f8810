"""Deterministic code only: what Temporal replays. `served` has all of it."""
