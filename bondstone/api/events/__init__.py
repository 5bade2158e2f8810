"""Server-sent events: one watcher for each subject, however many follow it."""
