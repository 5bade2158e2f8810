"""The HTTP API: every noun and verb of `bond` under `/api/v1`. The process is `bondstone.workers.api`."""
