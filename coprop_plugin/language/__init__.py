"""Language models that hear, and see: local, on a server or replayed, behind one interface, with a cache of answers."""
