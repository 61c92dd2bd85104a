"""Stub."""


class Augment: ...
