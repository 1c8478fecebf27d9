"""AVSBench layouts, synthetic clips and simulators of imperfect base models."""
