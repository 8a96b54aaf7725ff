"""penstock.toml: one file, read into frozen typed settings."""
