"""A stock Backstage beside the platform, by configuration of it alone.

`feed` is what its catalog reads, made of `entities`, `templates` and `form_schema`; `actions` is what its
templates and agents call; `refresh` tells it what has changed. Who calls is `bondstone.identity.backstage_tokens`.
"""
