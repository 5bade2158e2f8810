"""The report of a campaign: its content, and each format it is written in."""
