"""The protocol between Bondstone and a tool, and what is done with executors outside an operation."""
