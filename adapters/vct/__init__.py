"""VCT, the Vision-Centric Transformer (CVPR 2025): network, its second picture of every frame, and adapter."""
