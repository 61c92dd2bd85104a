"""What `shards.verify` is made of: a check for each kind of object. None of them ever raises for bad bytes.

What is damaged is told with the bytes at fault where they can be named. Much of a dataset can be written
again from the rest of it, byte for byte: headers and `<key>.json` of a tar from its index, an index from
its tar, a Parquet object from its rows. So what differs is seen, and where. Of an mp4 the index knows the
CRC-32, whose syndrome names the byte if only one was changed.
"""
