"""The control activities of campaigns."""
