"""The format of values that travel between notebook and cell: one definition for both sides.

This folder is also ``worker/sandbox/protocol/codec``, by a symbolic link, because the cell's interpreter has none of
our packages. It imports the standard library only; numpy, pandas, polars and Pillow are imported when a value needs
them. Nothing in it unpickles: :mod:`.container` only says that a value is a pickle.
"""
