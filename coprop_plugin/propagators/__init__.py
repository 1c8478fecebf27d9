"""Propagators: anchor mask, frames and sound in, masks of the segment's other frames out."""
