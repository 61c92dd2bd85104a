"""Views of a version for other libraries, a file each: they describe the very shards and copy no clip.

Public: `shards.export.write.export_version`, `shards.export.write.exports_of` and
`shards.export.push.push`.

A view is a few small text files under `exports/<kind>/<version>/` of the dataset, which name the
shards by their place relative to it, so it stays true wherever the dataset lies. It depends on the
version and its catalog alone: the same version gives the same bytes.
"""
