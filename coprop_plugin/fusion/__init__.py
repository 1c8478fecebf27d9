"""Fusion policies: which frame anchors a segment, and how base and propagated masks become one."""
