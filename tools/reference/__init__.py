"""Generators of the pages under docs/reference."""
