"""What a person reads on a terminal, and a program on a pipe: tables, JSON, YAML, errors."""
