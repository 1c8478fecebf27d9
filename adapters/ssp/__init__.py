"""SSP, "Stepping Stone Plus" (arXiv 2601.08133): AAVS with an optical-flow pre-mask and two aligned texts."""
