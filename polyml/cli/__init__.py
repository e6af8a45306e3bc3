"""The command line: one small file per verb, each of which parses, calls one function and prints."""
