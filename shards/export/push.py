"""Upload a version to a dataset repository of Hugging Face, with `huggingface_hub`.

What is uploaded is the version as it lies here (shards, indexes, catalog, version) and its card, so
that who downloads it can verify and stream it too. The card goes last, together with the removal of
what only older versions held: until then, and after whatever kills the upload, the repository shows
the version that it showed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from shards.errors import UserError
from shards.export.hf import Hf
from shards.export.view import View, read_view
from shards.index import index_name
from shards.manifest import Version
from shards.store import Store

_KIND = "dataset"
_CARD = "README.md"
_OURS = ("catalog/", "shards/", "versions/")
_OBJECTS_A_PART = 50


@dataclass(frozen=True)
class Pushed:
    """What an upload came to.

    Attributes:
        uploaded: objects that were not there as they are, with the card.
        removed: objects of older versions that the repository held.
    """

    url: str
    uploaded: int
    removed: int


def push(
    store: Store,
    version: Version,
    repository: str,
    *,
    name: str | None = None,
    private: bool = True,
    on_part: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Make a repository show a version; one that does so already is left alone.

    Objects that the repository has are not sent again. The token, the endpoint and the cache are those of
    `huggingface_hub` (`HF_TOKEN`, `HF_ENDPOINT`). Files that are removed stay in the repository's history.

    Args:
        repository: `<owner>/<name>`; it is made if there is none.
        name: what the card calls the dataset, as in `shards.export.view.read_view`.
        private: of a repository that is made.
        on_part: is called with the number of commits made and of all.

    Raises:
        UserError: the hub refuses or cannot be reached, or the repository holds something else.
    """
    with _told(repository):
        # Not at import time: few need it.
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
        from huggingface_hub.hf_api import RepoFile

        view = read_view(store, version, "", name)
        card = Hf().files(view)[_CARD]
        hub = HfApi()
        url = str(hub.create_repo(repository, repo_type=_KIND, private=private, exist_ok=True))
        tree = hub.list_repo_tree(repository, recursive=True, repo_type=_KIND)
        there = {
            entry.path: entry.lfs.sha256 if entry.lfs else None
            for entry in tree
            if isinstance(entry, RepoFile)
        }
        if _CARD in there and not any(path.startswith("versions/") for path in there):
            raise UserError(
                f"--push {repository}: it holds something that is no dataset of ours; name a new one"
            )
        objects = _objects(view)
        missing = [name for name, sha256 in objects.items() if sha256 is None or there.get(name) != sha256]
        removed = [path for path in sorted(there) if path.startswith(_OURS) and path not in objects]
        parts = [missing[at : at + _OBJECTS_A_PART] for at in range(0, len(missing), _OBJECTS_A_PART)]
        for number, part in enumerate(parts, 1):
            with ExitStack() as opened:
                hub.create_commit(
                    repository,
                    [CommitOperationAdd(name, opened.enter_context(_open(store, name))) for name in part],
                    commit_message=f"Objects of version {version.number}, part {number} of {len(parts)}",
                    repo_type=_KIND,
                )
            if on_part:
                on_part(number, len(parts) + 1)
        hub.create_commit(
            repository,
            [
                CommitOperationAdd(_CARD, card),
                *(CommitOperationDelete(path, is_folder=False) for path in removed),
            ],
            commit_message=f"Version {version.number}, SHA-256 {version.hash}",
            repo_type=_KIND,
        )
        if on_part:
            on_part(len(parts) + 1, len(parts) + 1)
    return Pushed(url, len(missing) + 1, len(removed))


def _objects(view: View) -> dict[str, str | None]:
    """The objects of a version, and their SHA-256 where they are large: shards first, the version last."""
    objects: dict[str, str | None] = {}
    for shard in view.version.shards:
        objects |= {shard.name: shard.sha256, index_name(shard.name): shard.index_sha256}
    objects |= {catalog.name: catalog.sha256 for catalog in view.catalog.values()}
    return objects | {view.version.name: view.version.hash}


@contextmanager
def _open(store: Store, name: str) -> Iterator[BinaryIO]:
    with store.open(name) as file:
        yield file


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """What the hub has against it, in one line."""
    try:
        from httpx2 import HTTPError, TransportError
        from huggingface_hub import constants, get_token
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        raise UserError("--push: needs huggingface_hub; `pip install -e '.[hf]'` brings it") from None
    if not get_token():
        raise UserError(
            f"--push {repository}: there is no token; `hf auth login` stores one, HF_TOKEN tells one"
        )
    try:
        yield
    except TransportError as error:
        raise UserError(
            f"--push {repository}: {constants.ENDPOINT} cannot be reached ({error}); HF_ENDPOINT says which "
            "server is asked"
        ) from None
    except (HTTPError, HFValidationError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--push {repository}: {reason}") from None
