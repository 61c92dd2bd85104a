"""How a dataset is built: sources, download, cut, ingest, curate, publish, and the engine.

Public: `pipeline.config.load_config`, `pipeline.build.build` and its stages, `pipeline.engine`.

>>> from pipeline.config import BuildConfig
>>> config = BuildConfig.model_validate({"dataset": "d", "sources": [{"kind": "files", "path": "videos"}]})
>>> config.scorers
('motion', 'cuts')

Stages are plain functions of one unit; the engine that runs them is a value that is handed in.
"""
