"""Real servers for tests and benchmarks, on free loopback ports, gone with whoever started them.

    with postgres.running(directory) as database, temporal.running(other, database) as server: ...

Each is a context manager that raises `ToolMissing` when `make tools` (or `make install`, for PostgreSQL) has not
brought its programs, and `ServerFailed`, with the end of its log, when it does not come up.
"""
