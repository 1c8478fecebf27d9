"""AOT and DeAOT: masks carried by attention to a first and to the last frame (Yang et al., 2021 and 2022)."""
