"""Temporal as every part speaks to it: connection, calls, lists, payloads, builds, failures."""
