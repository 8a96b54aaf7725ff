"""The command line: one file per command, each with a `register(app)`; heavy imports stay inside the commands."""
