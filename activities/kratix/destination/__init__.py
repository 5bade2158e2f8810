"""Files of Kratix pipelines in a git repository of the pool, in place of a cluster."""
