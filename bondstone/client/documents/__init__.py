"""What programs read (`-o json`): stable fields that only ever grow."""
