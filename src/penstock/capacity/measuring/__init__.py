"""Load tests of real OpenAI-compatible endpoints, and the results of others' tools in the same form."""
