"""What is checked before a promise is published."""
