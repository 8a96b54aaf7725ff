"""The journal as files: one directory, segments `<writer>.<number>.jsonl`, each with one writer at a time."""
