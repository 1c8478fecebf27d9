"""CATR (ACM MM 2023): network and adapter."""
