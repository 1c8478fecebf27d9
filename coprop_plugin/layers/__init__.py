"""Pieces of networks that several models are built from, under their published names."""
