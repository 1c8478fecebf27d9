"""AAVS, the two-stage model of "Stepping Stones" (ECCV 2024): networks and adapter."""
