"""Mutations of every kind of file that the project reads, over its command line, in processes with limits."""
