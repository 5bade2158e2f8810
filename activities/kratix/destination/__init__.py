"""Files of Kratix pipelines in a git repository or a bucket of the pool, in place of a cluster."""
