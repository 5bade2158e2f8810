"""`bond service`: instances of promises."""
