"""Where videos come from: one file a kind, found by itself.

A new source is one new file here, with one subclass of `pipeline.sources.base.Source`.
"""
