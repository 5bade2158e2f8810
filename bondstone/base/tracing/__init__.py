"""Traces: where in one we are (`spans`), and sending them to a collector (`export`)."""
