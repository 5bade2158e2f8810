"""Deterministic code only: what Temporal replays."""
