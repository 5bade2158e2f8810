"""Campaigns, as a client starts, watches and controls them."""
