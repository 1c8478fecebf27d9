"""Studies: the same clips under many settings, told as tables."""
