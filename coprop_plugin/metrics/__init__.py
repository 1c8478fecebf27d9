"""Scores under named protocols: pure functions first, mergeable sums on top."""
