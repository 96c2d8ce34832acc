"""The service's face: JSON over HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from parcels import __version__
from parcels.domain import CodeError, Event, MoveError, Parcel, Status, parse_code
from parcels.store import Store, UnknownParcelError

_MAX_BODY = 16 * 1024
_MAX_TEXT = 200


class RequestError(Exception):
    """The body of the request is not what the route takes."""


def _now() -> datetime:
    return datetime.now(UTC)


def create_app(store: Store, clock: Callable[[], datetime] = _now) -> Starlette:
    """Return the service, as an ASGI application that keeps its parcels in `store`."""

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": __version__})

    async def counts(request: Request) -> JSONResponse:
        return JSONResponse(await run_in_threadpool(store.count))

    async def register(request: Request) -> JSONResponse:
        body = await _body(request, "recipient", "place")
        parcel = await run_in_threadpool(store.register, body["recipient"], body["place"], clock())
        location = str(request.url_for("show", code=parcel.code).path)
        return JSONResponse(_as_json(parcel), 201, {"Location": location})

    async def show(request: Request) -> JSONResponse:
        code = parse_code(request.path_params["code"])
        return JSONResponse(_as_json(await run_in_threadpool(store.find, code)))

    async def record(request: Request) -> JSONResponse:
        code = parse_code(request.path_params["code"])
        body = await _body(request, "status", "place")
        try:
            status = Status(body["status"])
        except ValueError:
            known = ", ".join(Status)
            raise RequestError(f"status {body['status']!r} is not one of {known}") from None
        event = Event(status, body["place"], clock())
        return JSONResponse(_as_json(await run_in_threadpool(store.record, code, event)))

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/parcels", counts, methods=["GET"]),
            Route("/parcels", register, methods=["POST"]),
            Route("/parcels/{code}", show),
            Route("/parcels/{code}/events", record, methods=["POST"]),
        ],
        exception_handlers={
            RequestError: _answer(400),
            CodeError: _answer(400),
            UnknownParcelError: _answer(404),
            MoveError: _answer(409),
        },
    )


def _answer(status: int) -> Callable[[Request, Exception], JSONResponse]:
    def handler(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status)

    return handler


async def _body(request: Request, *names: str) -> dict[str, str]:
    """Return the text members of the JSON object that the request carries."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_BODY:
            raise RequestError(f"the body is longer than {_MAX_BODY} bytes")
    try:
        body = json.loads(raw)
    except ValueError:
        raise RequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestError("the body is not a JSON object")
    for name in names:
        value = body.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
            raise RequestError(f"{name!r} must be a text of 1 to {_MAX_TEXT} characters")
    return body


def _as_json(parcel: Parcel) -> dict[str, object]:
    return {
        "code": parcel.code,
        "recipient": parcel.recipient,
        "status": parcel.status,
        "events": [
            {"status": event.status, "place": event.place, "at": event.at.isoformat()}
            for event in parcel.events
        ],
    }
