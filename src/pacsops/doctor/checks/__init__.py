"""The checks, one function each, by what they look at."""
