"""Libraries of real objects with real sounds, and clips made of them."""
