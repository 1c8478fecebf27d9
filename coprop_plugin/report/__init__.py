"""Overlay video, timeline and the one-file HTML report."""
