"""The processes: control worker, executor worker, and the embedded platform."""
