"""What is stored: the dataset on disk, and nothing about how it came to be.

Public: `shards.store.Store`, `shards.manifest.read_version`, `shards.index.read_index` and `read_clip`,
`shards.codec` (`encode_clip`, `decode_clip`, `PacketDecoder`), `shards.verify.verify`, `shards.query`
(`read_views`, `query`), `shards.extract.extract` and `shards.export.write.export_version`.

>>> from shards.keys import clip_key, parse_key
>>> clip_key("file-0a1b", 160)
'file-0a1b_00000160'
>>> parse_key("file-0a1b_00000160")
('file-0a1b', 160)

This package imports no other package of Genieset, and neither torch nor ray.
"""
