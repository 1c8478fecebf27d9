"""Control-point generators: sound in, the frames where the set of sounding objects changes out."""
