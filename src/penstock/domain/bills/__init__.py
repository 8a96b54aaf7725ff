"""Bills of clouds and providers as FOCUS rows: the columns, the rules, and what a bill comes to."""
