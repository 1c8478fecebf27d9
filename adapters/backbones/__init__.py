"""Image encoders that the published models share, under their published names."""
