"""The server of the labelling page: its files, the clips of one plan, and answers."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from labelling.agreement import Agreement, agreement
from labelling.answers import Answer, Answers
from labelling.clips import ClipReader
from labelling.guard import Asgi, Guard
from labelling.queue import Queue
from labelling.wide import WideFrames
from shards.codec import CodecError
from shards.errors import UserError
from shards.settings import Block

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

CLIPS_AHEAD = 6
"""So many clips are dealt at a time: the one that is shown and those that are fetched ahead."""

MAX_NAME_CHARS = 64
MAX_NOTE_CHARS = 2000
_MAX_BODY_BYTES = 32_768
_UNDO_STEPS = 1000
_SHUTDOWN_S = 3

_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/outbox.js": ("outbox.js", "text/javascript"),
    "/reel.js": ("reel.js", "text/javascript"),
    "/wide.js": ("wide.js", "text/javascript"),
}


def labeller_name(name: str) -> str:
    """A labeller's name as it is stored.

    Raises:
        ValueError: it is empty, longer than `MAX_NAME_CHARS`, or holds what cannot be printed.
    """
    name = name.strip()
    if not (0 < len(name) <= MAX_NAME_CHARS and name.isprintable()):
        raise ValueError(f"{name[:80]!r} is no name; give 1 to {MAX_NAME_CHARS} printable characters")
    return name


_Name = Annotated[str, AfterValidator(labeller_name)]
_Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{16,64}$")]


class Asked(Block):
    """Who asks, and for which plan: a page may be older than the server."""

    plan: str
    labeller: _Name


class Answered(Asked):
    """An answer to a clip."""

    id: _Id
    key: str
    label: Annotated[int, Field(strict=True, ge=1, le=5)] | None
    note: Annotated[str, StringConstraints(max_length=MAX_NOTE_CHARS, strip_whitespace=True)] = ""


class Undone(Asked):
    """Which answer is taken back."""

    id: _Id


A = TypeVar("A", bound=Asked)


class _RefusedError(Exception):
    """A request that cannot be met: HTTP status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Desk:
    """What the page can ask for, without HTTP."""

    def __init__(
        self,
        queue: Queue,
        answers: Answers,
        clips: ClipReader,
        wide: WideFrames,
        labeller: str | None,
    ) -> None:
        self._queue = queue
        self._answers = answers
        self._plan_keys = queue.keys()
        self.clips = clips
        self.wide = wide
        self.labeller = labeller

    def begin(self) -> dict[str, Any]:
        """What the page must know before it can ask for clips."""
        return {"plan": self._queue.uid, "labeller": self.labeller, "wide": self.wide.any()}

    def next(self, asked: Asked) -> dict[str, Any]:
        """The next clips, how far this labeller is, and what can be undone."""
        last = self._answers.last(self._queue.plan, asked.labeller, _UNDO_STEPS)
        given = [
            {"id": answer.id, "key": answer.key, "label": answer.label, "note": answer.note}
            for answer in last
        ]
        return self._state(asked.labeller) | {"given": given}

    def answer(self, answered: Answered) -> dict[str, Any]:
        """Keep an answer; see `Answers.give`."""
        answer = Answer(answered.id, answered.key, answered.labeller, answered.label, answered.note)
        try:
            self._answers.give(self._queue.plan, answer)
        except KeyError:
            raise _RefusedError(404, "no such clip in this plan") from None
        except ValueError:
            raise _RefusedError(409, "another answer has this id") from None
        return self._state(answered.labeller)

    def undo(self, undone: Undone) -> dict[str, Any]:
        """Take an answer back; see `Answers.undo`."""
        key = self._answers.undo(undone.id, undone.labeller)
        if key is None:
            raise _RefusedError(404, "no such answer of this labeller")
        self._queue.take_back(key, undone.labeller)
        return self._state(undone.labeller)

    def agreement(self) -> Agreement:
        """How far labellers agree on the clips of this plan."""
        labels = [(row["key"], row["label"]) for row in self._answers.labels()]
        return agreement([label for label in labels if label[0] in self._plan_keys])

    def check(self, asked: Asked) -> None:
        """Refuse a page that was opened before the server was started for another plan."""
        if asked.plan != self._queue.uid:
            raise _RefusedError(409, "this page belongs to another plan than the server's; load it anew")

    def _state(self, labeller: str) -> dict[str, Any]:
        agreed = self.agreement()
        return {
            "next": self._queue.deal(labeller, CLIPS_AHEAD),
            "progress": asdict(self._queue.progress(labeller)),
            "pace": self._answers.pace(labeller),
            "agreement": {"alpha": agreed.shown, "clips": agreed.clips},
        }


def make_app(desk: Desk, host: str, token: str | None) -> Asgi:
    """The page as an ASGI application; `labelling.guard` says who may ask."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
        content = (_PAGE / name).read_bytes()

        async def serve_file(_: Request) -> Response:
            return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

        return serve_file

    async def begin(_: Request) -> Response:
        return JSONResponse(desk.begin(), headers={"Cache-Control": "no-store"})

    def action(
        model: type[A], act: Callable[[A], dict[str, Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def serve_action(request: Request) -> Response:
            try:
                asked = await _read(request, model)
                desk.check(asked)
                told = await run_in_threadpool(act, asked)
            except _RefusedError as refused:
                return JSONResponse({"error": str(refused)}, refused.status)
            return JSONResponse(told, headers={"Cache-Control": "no-store"})

        return serve_action

    async def clip(request: Request) -> Response:
        try:
            mp4 = await run_in_threadpool(desk.clips.read, request.path_params["key"])
        except (CodecError, FileNotFoundError):
            return PlainTextResponse("the dataset has lost this clip", 410)
        if mp4 is None:
            return PlainTextResponse("no such clip in this plan", 404)
        return _lasting(request, mp4, "video/mp4")

    async def wide(request: Request) -> Response:
        place = request.path_params.get("frame")
        try:
            frames = await run_in_threadpool(desk.wide.read, request.path_params["key"])
        except (UserError, FileNotFoundError):
            return PlainTextResponse("the dataset has lost these frames", 410)
        if frames is None:
            return PlainTextResponse("no such clip in this plan", 404)
        if place is None:
            return JSONResponse({"frames": [wide.frame for wide in frames]})
        jpegs = [wide.jpeg for wide in frames if wide.frame == place]
        return _lasting(request, jpegs[0], "image/jpeg") if jpegs else PlainTextResponse("no such frame", 404)

    routes = [Route(path, file(*told)) for path, told in _FILES.items()]
    routes += [
        Route("/api/begin", begin),
        Route("/api/next", action(Asked, desk.next), methods=["POST"]),
        Route("/api/answer", action(Answered, desk.answer), methods=["POST"]),
        Route("/api/undo", action(Undone, desk.undo), methods=["POST"]),
        Route("/clip/{key}.mp4", clip),
        Route("/clip/{key}/wide.json", wide),
        Route("/clip/{key}/wide/{frame:int}.jpg", wide),
    ]
    return Guard(Starlette(routes=routes), host, token)


def listen(host: str, port: int) -> socket.socket:
    """A socket at which the page is served.

    Args:
        port: 0 takes a free one.

    Raises:
        UserError: the place is taken, or is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); --port 0 takes a free one"
        ) from None


def serve(app: Asgi, listener: socket.socket) -> None:
    """Serve until a signal ends it, and then raise what the signal stands for (Ctrl-C: KeyboardInterrupt)."""
    import uvicorn

    settings = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    uvicorn.Server(settings).run(sockets=[listener])


def _lasting(request: Request, content: bytes, kind: str) -> Response:
    """What a browser may keep: the same address is the same bytes as long as there is the plan."""
    from starlette.responses import Response

    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=31536000, immutable"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


async def _read(request: Request, model: type[A]) -> A:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            raise _RefusedError(413, f"more than {_MAX_BODY_BYTES} bytes")
    # What a form can send across origins is never JSON by its type.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise _RefusedError(415, "send application/json")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise _RefusedError(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
