"""AVSegFormer (AAAI 2024): network and adapter."""
