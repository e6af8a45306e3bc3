"""Screen libraries of candidates: expressions, upper bounds, the stream of chunks, the ranked list."""
