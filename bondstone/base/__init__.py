"""What every part stands on: errors, names, settings, files, logs, metrics, traces. Imports no other part."""
