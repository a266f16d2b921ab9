"""Dask workers: the pixels of a series lie with them, and the client holds none."""
