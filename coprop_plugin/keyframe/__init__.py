"""The keyframe processor: a single-frame audio-visual model (paper section 3.3)."""
