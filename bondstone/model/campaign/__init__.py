"""The wire models of campaigns."""
