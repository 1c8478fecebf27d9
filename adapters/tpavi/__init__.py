"""TPAVI, the AVSBench baseline (ECCV 2022): network and adapter."""
