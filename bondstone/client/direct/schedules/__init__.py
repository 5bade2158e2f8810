"""Schedules of campaigns, as a client keeps them."""
