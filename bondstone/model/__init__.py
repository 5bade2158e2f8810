"""The wire models: everything that crosses a process, frozen."""
