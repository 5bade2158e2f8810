"""Campaigns: one operation over a fleet, as pure functions. No Temporal, no clock, no I/O."""
