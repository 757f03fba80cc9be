"""The HTTP of the stand-in: OpenAI's chat API, with and without `/v1`, and `/dev` for whoever directs it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.llm.faults import Fault, FaultBook, FaultKind
from devstack.llm.gauges import Gauges
from devstack.llm.pieces import estimate_tokens, split_pieces
from devstack.llm.replies import Pace, Script, Teller, WatchedReply
from devstack.llm.requests import BadRequest, ChatRequest, read_request
from devstack.llm.transcript import Call, Transcript
from devstack.llm.writing import write_answer, write_thoughts

MODELS = ("deepseek-chat", "deepseek-reasoner", "glm-4.5-flash", "glm-4.1v-thinking-flash")


@dataclass
class Provider:
    """One stand-in's state, and its endpoints."""

    pace: Pace = field(default_factory=Pace)
    faults: FaultBook = field(default_factory=FaultBook)
    gauges: Gauges = field(default_factory=Gauges)
    requests: list[ChatRequest] = field(default_factory=list)
    """The latest requests, newest last, for tests that look at what a model was told."""
    ids: count[int] = field(default_factory=count)
    transcript: Transcript = field(default_factory=Transcript)

    def app(self) -> Starlette:
        routes = [
            Route(f"{prefix}{path}", endpoint, methods=[method])
            for prefix in ("", "/v1", "/api/paas/v4")
            for path, endpoint, method in (
                ("/chat/completions", self.chat, "POST"),
                ("/models", self.models, "GET"),
            )
        ]
        return Starlette(
            routes=[
                *routes,
                Route("/dev/state", self.state),
                Route("/dev/faults", self.change_faults, methods=["POST", "DELETE"]),
                Route("/dev/pace", self.change_pace, methods=["POST"]),
            ]
        )

    async def chat(self, request: Request) -> Response:
        api_key = re.sub(r"^Bearer\s*", "", request.headers.get("authorization", ""))
        if not api_key:
            return _error(401, "No API key.")
        try:
            chat = read_request(await request.body(), MODELS)
        except BadRequest as error:
            return _error(400, str(error))
        self.requests[:] = [*self.requests[-99:], chat]
        fault = self.faults.take(chat.model, chat.prompt, has_format=bool(chat.raw.get("response_format")))
        if fault is not None and fault.kind in {FaultKind.STATUS, FaultKind.NO_JSON_MODE}:
            self.gauges.calls += 1
            headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
            return _error(fault.status if fault.kind is FaultKind.STATUS else 400, fault.message, headers)
        call = Call.of(next(self.ids), api_key, chat)
        self.transcript.add(call)
        script = _script(chat, fault, call if self.transcript.on else None)
        teller = Teller(script, self.pace, fault, call)
        return WatchedReply(teller, chat.stream, self.gauges, api_key, chat.prompt)

    async def models(self, _request: Request) -> Response:
        data = [{"id": model, "object": "model", "created": 0, "owned_by": "devstack"} for model in MODELS]
        return JSONResponse({"object": "list", "data": data})

    async def state(self, _request: Request) -> Response:
        return JSONResponse(self.gauges.to_json())

    async def change_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
            return JSONResponse({"ok": True})
        try:
            self.faults.add(Fault.model_validate_json(await request.body()))
        except ValidationError as error:
            return _error(400, str(error))
        return JSONResponse({"ok": True})

    async def change_pace(self, request: Request) -> Response:
        body: dict[str, Any] = await request.json()
        self.pace.first_token_ms = float(body.get("firstTokenMs", self.pace.first_token_ms))
        self.pace.tokens_per_second = float(body.get("tokensPerSecond", self.pace.tokens_per_second))
        return JSONResponse(
            {"firstTokenMs": self.pace.first_token_ms, "tokensPerSecond": self.pace.tokens_per_second}
        )


def _script(chat: ChatRequest, fault: Fault | None, stamping: Call | None) -> Script:
    kind = fault.kind if fault else None
    if fault is not None and kind in {FaultKind.SAYS, FaultKind.LOOP}:
        return _word_for_word(chat, fault)
    answer = "" if kind in {FaultKind.EMPTY, FaultKind.TOOL_CALL} else write_answer(chat)
    if fault is not None and kind is FaultKind.ENDLESS:
        answer = fault.text or answer
    if kind is FaultKind.BAD_JSON:
        answer = f"Certainly! {answer[: len(answer) // 2]}"
    pieces = split_pieces(stamping.stamped(answer) if stamping else answer)
    cut = len(pieces) > chat.max_tokens
    return Script(
        model=chat.model,
        thoughts=split_pieces(write_thoughts(chat)),
        pieces=pieces[: chat.max_tokens],
        finish_reason="tool_calls" if kind is FaultKind.TOOL_CALL else "length" if cut else "stop",
        prompt_tokens=estimate_tokens(chat.prompt),
        include_usage=chat.include_usage,
        tool_call=kind is FaultKind.TOOL_CALL,
    )


def _word_for_word(chat: ChatRequest, fault: Fault) -> Script:
    return Script(
        model=chat.model,
        thoughts=[],
        pieces=split_pieces(fault.text.replace("{fence}", chat.fence)),
        finish_reason=fault.finish_reason,
        prompt_tokens=estimate_tokens(chat.prompt),
        include_usage=chat.include_usage,
        repeated=split_pieces(fault.text[-20:]) if fault.kind is FaultKind.LOOP else (),
    )


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    error = {
        "message": message,
        "type": "invalid_request_error" if status < 500 else "server_error",
        "code": None,
    }
    return JSONResponse({"error": error}, status, headers)
