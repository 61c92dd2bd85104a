"""The sub-commands of `genieset`, a file for each room of the house they serve.

A command loads what it needs when it is called, so that `genieset --help` loads nothing heavy.
"""
