"""YAML documents that people write: where each key and value stands, and what is wrong with it."""
