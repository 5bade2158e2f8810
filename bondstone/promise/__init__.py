"""Loading, checking and bundling promises."""
