"""The client over Temporal and the object store: for workers, tests, and programs beside the platform."""
