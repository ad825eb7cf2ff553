"""Generative retrieval: the next item's semantic id is written code by code, along the codes that exist."""
