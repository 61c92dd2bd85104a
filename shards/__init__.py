"""What is stored: the dataset on disk, and nothing about how it came to be.

Public: `Store`, `read_version`, `read_index`, `read_table`, `ClipFile` and the codec.

>>> from shards.keys import clip_key, parse_key
>>> clip_key("file-0a1b", 160)
'file-0a1b_00000160'
>>> parse_key("file-0a1b_00000160")
('file-0a1b', 160)

This package imports no other package of Genieset, and neither torch nor ray.
"""
