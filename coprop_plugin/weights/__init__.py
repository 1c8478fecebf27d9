"""Weights files: read safely, checked against the module that they fill."""
