"""The data plane: HTTP in, upstream calls out, one record per request. Read `pipeline.py` first, then `steps/`."""
