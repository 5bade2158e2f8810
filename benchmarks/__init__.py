"""What is measured, against what, each with its command; see README.md beside this file."""
