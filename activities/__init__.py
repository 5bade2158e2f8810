"""Side effects, one module per tool."""
