"""Seeded kills of a platform at work, and the same of plain Terraform: `python -m harness.chaos --help`."""
