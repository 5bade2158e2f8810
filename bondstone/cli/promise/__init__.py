"""`bond promise`: what the platform offers."""
