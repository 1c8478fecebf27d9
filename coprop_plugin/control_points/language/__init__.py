"""Control points from an audio language model (RCPG): prompts, parsing, retrieval, models, the cache of answers."""
