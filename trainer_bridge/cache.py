"""Stub."""


class Cache: ...
