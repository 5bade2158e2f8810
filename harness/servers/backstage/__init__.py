"""A stock Backstage: published packages, SQLite files, a configuration of ours and no module of ours.

`packages` installs it from `tests/backstage`, `configuration` is what both sides are told, `stock` runs it and
plays the browser of a person: signing in, sending a template's form, following a task.
"""
