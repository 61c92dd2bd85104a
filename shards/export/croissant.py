"""Croissant 1.1: what a dataset consists of, as JSON-LD that search engines and `mlcroissant` read."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from shards.catalog import CLIPS, VIDEOS
from shards.export.base import Export
from shards.export.summary import UNKNOWN, Summary, summarise
from shards.export.view import View

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification has every 1.1 document begin with."""

_SAMPLES = "samples"
_TYPES = {"string": "sc:Text", "double": "sc:Float", "int32": "sc:Integer", "int64": "sc:Integer"}


class Croissant(Export):
    """`croissant.json`, valid Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html).

    Each shard is a FileObject with its SHA-256, their mp4s and JSONs are FileSets, and three RecordSets
    can be read: `videos` and `clips`, the catalog with every decision, and `samples`, the key and mp4 of
    each published clip. `datePublished`, which is only recommended, is not there: it would be a time.
    """

    kind = "croissant"

    def files(self, view: View) -> dict[str, bytes]:
        """One file; `url` is the way from it to the dataset."""
        told = summarise(view)
        body = {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": "http://mlcommons.org/croissant/1.1",
            "name": view.name,
            "description": _description(view, told),
            "license": sorted({group.name for group in told.licences}),
            "url": view.place or "./",
            "version": f"{view.version.number}.0.0",
            "keywords": ["video", "world model", "WebDataset"],
            "distribution": [
                *_shards(view),
                *_members(view),
                *(_catalog(view, kind) for kind in (VIDEOS, CLIPS)),
            ],
            "recordSet": [*(_rows(view, kind) for kind in (VIDEOS, CLIPS)), _samples()],
        }
        # What is put into a page's <script> must not end it.
        text = (
            json.dumps(body, indent=1).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        )
        return {"croissant.json": text.encode() + b"\n"}


def _description(view: View, told: Summary) -> str:
    unknown = sum(group.clips for group in told.licences if group.name == UNKNOWN)
    return (
        f"{told.total.clips} video clips ({told.total.hours:.2f} hours) of {told.total.videos} videos, "
        f"for training world models, in WebDataset shards. Version {view.version.number}, SHA-256 "
        f"{view.version.hash}. The licence of a clip is that of its source video; it is unknown for "
        f"{unknown} clips."
    )


def _shards(view: View) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": shard.name,
            "name": shard.name.rpartition("/")[2],
            "contentUrl": view.url(shard.name),
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.sha256,
        }
        for shard in view.version.shards
    ]


def _members(view: View) -> list[dict[str, Any]]:
    tars = [{"@id": shard.name} for shard in view.version.shards]
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{suffix}-members",
            "name": f"{suffix}-members",
            "description": description,
            "containedIn": tars,
            "encodingFormat": encoding,
            "includes": f"*.{suffix}",
        }
        for suffix, encoding, description in (
            ("mp4", "video/mp4", "The clips: H.264, yuv420p, without sound."),
            ("json", "application/json", "Of each clip: key, video_id, start_s, n_frames, fps, content_box."),
        )
    ]


def _catalog(view: View, kind: str) -> dict[str, Any]:
    catalog = view.catalog[kind]
    return {
        "@type": "cr:FileObject",
        "@id": catalog.name,
        "name": f"{kind}.parquet",
        "contentUrl": view.url(catalog.name),
        "contentSize": f"{catalog.bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": catalog.sha256,
    }


def _rows(view: View, kind: str) -> dict[str, Any]:
    catalog = view.catalog[kind]
    key = "video_id" if kind == VIDEOS else "key"
    return {
        "@type": "cr:RecordSet",
        "@id": kind,
        "name": kind,
        "description": f"The catalog of {kind}: each one that was found, kept or not.",
        "key": {"@id": f"{kind}/{key}"},
        "field": [_column(kind, catalog.name, field) for field in catalog.table.schema],
    }


def _column(kind: str, source: str, field: pa.Field) -> dict[str, Any]:
    of = field.type
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{kind}/{field.name}",
        "name": field.name,
        "source": {"fileObject": {"@id": source}, "extract": {"column": field.name}},
    }
    if pa.types.is_fixed_size_list(of):
        described |= {"isArray": True, "arrayShape": str(of.list_size)}
    elif pa.types.is_list(of):
        described |= {"isArray": True, "arrayShape": "-1"}
    listed = pa.types.is_fixed_size_list(of) or pa.types.is_list(of)
    return described | {"dataType": _TYPES[str(of.value_type if listed else of)]}


def _samples() -> dict[str, Any]:
    source = {"fileSet": {"@id": "mp4-members"}}
    return {
        "@type": "cr:RecordSet",
        "@id": _SAMPLES,
        "name": _SAMPLES,
        "description": "The published clips.",
        "key": {"@id": f"{_SAMPLES}/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{_SAMPLES}/key",
                "name": "key",
                "dataType": "sc:Text",
                "source": source
                | {"extract": {"fileProperty": "filename"}, "transform": {"regex": "^(.*)\\.mp4$"}},
            },
            {
                "@type": "cr:Field",
                "@id": f"{_SAMPLES}/mp4",
                "name": "mp4",
                "dataType": "sc:VideoObject",
                "source": source | {"extract": {"fileProperty": "content"}},
            },
        ],
    }
