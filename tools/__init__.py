"""Commands for those who work on Bondstone: generated files, and checks of the documentation."""
