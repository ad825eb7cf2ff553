"""Readers: a new kind of source is a module here with `read`, named in `ingest` and in `core/settings/source.py`."""
