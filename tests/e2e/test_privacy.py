"""What a user writes, and what a model answers, is nowhere but where it belongs: in the user's own results.

Every path is walked once with marked texts, on processes whose libraries have been told to log all they can; then
everything that was emitted is searched.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import itertools
import json
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from devstack.collector import Collector
from devstack.frontend import JOB, RESUME, Reader, until
from devstack.processes import FunctionProcess
from devstack.qstash.recorder import Recorder
from devstack.qstash.signing import Keyring
from devstack.stack import Stack
from shared.config import SigningKeys
from shared.log_events import LogEvent
from shared.messages import TaskMessage
from shared.routing import ROUTES, Lane, Template, serves
from shared.state.keys import slots
from tests.marks_kit import Mark, leaks

pytestmark = pytest.mark.timeout(300)  # all paths are walked in the first test's set-up
LOUD = {
    "OPENAI_LOG": "debug",
    "GUNICORN_LOG_LEVEL": "debug",
    "LANGSMITH_TRACING": "true",
    "LANGCHAIN_TRACING_V2": "true",
    "LANGSMITH_API_KEY": "none",
    "LANGCHAIN_VERBOSE": "true",
    "PYTHONASYNCIODEBUG": "1",
}
"""Variables by which libraries are told to say more; a platform or an operator may set them."""
OVERRIDES = {
    "LOG_LEVEL": "DEBUG",
    "LEASE_SECONDS": "1",
    "WORKER_TIMEOUT_SECONDS": "20",
    "MAX_WAIT_SECONDS_STREAM": "25",
    "MAX_WAIT_SECONDS_BATCH": "25",
    "TASK_RETRIES": "1",
    "INITIAL_QUOTA": "500",
    "RATE_LIMIT_WRITES": "60/minute",
}
TO_THE_MODEL = ("resumetext", "filecontent", "detailedtext", "jobtext")
OTHER = (
    "filename", "formfield", "imagetext", "idempotencykey", "traceparent", "useragent", "unknownfield", "unknownvalue",
    "wronglocale", "wrongtype", "malformed", "dataurl", "oddfile", "brokenpdf", "brokenword", "toolong", "mismatch",
    "path", "query", "authorization", "serviceid", "streamtoken", "lasteventid", "signature", "callback", "message",
    "provider", "modelprose", "modelvalue", "modelfield", "modelthought", "modelrefusal", "redis",
)  # fmt: skip
MARKS = {name: Mark(name) for name in (*TO_THE_MODEL, *OTHER)}
M = {name: mark.text for name, mark in MARKS.items()}
W = {name: mark.word for name, mark in MARKS.items()}
RESUME_TEXT = f"{RESUME}\n{M['resumetext']}\nSkills: {W['resumetext']}, Python\n"
JOB_TEXT = f"{JOB}\n{M['jobtext']}\nYou know {W['jobtext']}.\n"
FAST, SLOW = 5_000, 250
"""Tokens a second: to get on, and to be caught in mid-answer."""
ENDS = {"done", "failed", "cancelled"}
OWN_TEXTS = {"token_batch", "step_result", "done", "resync"}
"""Events whose very purpose is to tell a user the model's text."""


def picture() -> bytes:
    """A picture whose metadata hold a marked text; the model gets it without them."""
    notes, out = PngInfo(), io.BytesIO()
    notes.add_text("Comment", W["imagetext"])
    notes.add_itxt("Title", M["imagetext"])
    Image.new("RGB", (320, 160), "white").save(out, "PNG", pnginfo=notes)
    return out.getvalue()


@dataclass
class Evidence:
    """What was emitted, by where it was; and the tokens that it must not hold either."""

    sources: dict[str, bytes]
    tokens: set[str]
    told_models: bytes
    left_on_disk: dict[str, bytes]
    traced: int
    outcomes: set[tuple[str, int, str]]
    """What was refused or failed, with its status and code; 200 stands for a task's own end."""


@dataclass
class Walk:
    """One user's ways through the product, with everything that is refused kept."""

    stack: Stack
    answers: list[bytes] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    outcomes: set[tuple[str, int, str]] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(
        self, method: str, path: str, *, base: str = "actions", user: str = "ann", what: str = "", **sent: Any
    ) -> httpx.Response:
        own = {
            "Idempotency-Key": f"{W['idempotencykey']}-{next(self.numbers)}",
            "traceparent": W["traceparent"],
            "tracestate": f"a={W['traceparent']}",
            "baggage": W["traceparent"],
            "User-Agent": W["useragent"],
            "Referer": f"https://app.example/?{W['useragent']}",
            "Origin": f"https://{W['useragent']}.example",
            "Cookie": W["useragent"],
        }
        authorization = self.stack.authorization(user)
        self.tokens.add(authorization["Authorization"].removeprefix("Bearer "))
        headers = own | authorization | dict(sent.pop("headers", {}))
        response = httpx.request(method, self.stack.url(base) + path, headers=headers, timeout=30, **sent)
        if not response.is_success:
            self.answers.append(response.content + repr(response.headers.raw).encode())
            code = response.json().get("error", "") if response.content[:1] == b"{" else ""
            self.outcomes.add((what or path, response.status_code, code))
        return response

    def post(self, what: str, action: str, body: Any = None, **sent: Any) -> httpx.Response:
        sent |= {"json": body} if body else {}
        return self.call("POST", f"/actions/{action}", what=what, **sent)

    def accepted(self, what: str, action: str, body: Any = None, **sent: Any) -> dict[str, Any]:
        response = self.post(what, action, body, **sent)
        assert response.status_code == 202, f"{what}: {response.text}"
        answer: dict[str, Any] = response.json()
        self.tokens.add(answer["streamUrl"].partition("token=")[2])
        return answer

    def end(self, what: str, accepted: Mapping[str, Any], user: str = "ann") -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            response = self.call("GET", f"/tasks/{accepted['taskId']}", user=user)
            status: dict[str, Any] = response.json() if response.is_success else {"state": "?"}
            return status if status["state"] in ENDS else None

        status = until(ended, f"the end of {what}")
        self.tokens.add(status["streamUrl"].partition("token=")[2])
        if "error" in status:
            self.outcomes.add((what, 200, status["error"]["code"]))
            self.answers.append(json.dumps(status["error"]).encode())
        return status

    def service(self, user: str = "ann") -> str:
        accepted = self.accepted(
            "a service", "create-service", {"jobText": JOB_TEXT, "locale": "en"}, user=user
        )
        Reader(accepted["streamUrl"]).wait()
        assert self.end("a service", accepted, user)["state"] == "done"
        return str(accepted["serviceId"])

    # -- the paths -------------------------------------------------------------------------------------------------------

    def success(self) -> None:
        """Every action, every kind of upload, to its result."""
        form = {"file": (f"{W['filename']}.txt", f"{RESUME}\n{M['filecontent']}".encode())}
        for what, action, sent in (
            ("a file", "upload-resume", {"files": form}),
            ("a text", "upload-resume", {"json": {"text": RESUME_TEXT, "locale": "en"}}),
            ("a history", "upload-detailed-resume", {"json": {"text": f"{RESUME}\n{M['detailedtext']}"}}),
        ):
            assert self.end(what, self.accepted(what, action, **sent))["state"] == "done"
        service_id = self.service()
        for action in ("customize-resume", "interview-tips"):
            accepted = self.accepted(action, action, {"serviceId": service_id})
            assert self.end(action, accepted)["state"] == "done"
        photo = {"image": (f"{W['filename']}.png", picture(), "image/png")}
        accepted = self.accepted("a picture", "create-service", files=photo)
        assert self.end("a picture", accepted)["state"] == "done"
        for path in ("/resume", "/services", f"/services/{service_id}", "/quota"):
            self.call("GET", path)

    def refusals(self) -> None:
        """Requests that are refused before anything is admitted."""
        upload, service = "upload-resume", "create-service"
        text = {"text": RESUME_TEXT}
        self.post("no token", upload, text, headers={"Authorization": ""})
        self.post("bad token", upload, text, headers={"Authorization": f"Bearer {W['authorization']}"})
        token = head_with(W["authorization"])
        self.post("odd token", upload, text, headers={"Authorization": f"Bearer {token}.e30.e30"})
        self.post("malformed", upload, content=f'{{"text": "{M["malformed"]}'.encode())
        self.post("no object", upload, content=json.dumps([M["malformed"]]).encode())
        self.post("not UTF-8", upload, content=b'{"text": "' + M["malformed"].encode("utf-16") + b'"}')
        self.post("half a character", upload, content=b'{"text": "\\ud800 %s"}' % W["malformed"].encode())
        self.post("unknown field", upload, {**text, M["unknownfield"]: M["unknownvalue"]})
        self.post("unknown field", upload, {**text, "other": M["unknownvalue"]})
        self.post("wrong locale", upload, {**text, "locale": M["wronglocale"]})
        self.post("wrong type", upload, {"text": {M["wrongtype"]: [M["wrongtype"]]}})
        self.post("neither", service, {"jobText": JOB_TEXT, "jobImage": M["dataurl"]})
        self.post("no data URL", service, {"jobImage": M["dataurl"]})
        self.post("no base64", service, {"jobImage": f"data:image/png;base64,{M['dataurl']}"})
        encoded = base64.b64encode(M["dataurl"].encode()).decode()
        self.post("no image", service, {"jobImage": f"data:image/png;base64,{encoded}"})
        self.post("odd service", "customize-resume", {"serviceId": M["serviceid"]})
        self.post("no service", "customize-resume", {"serviceId": W["serviceid"]})
        self.post("too long", upload, {"text": M["toolong"] * 1000})
        self.post("too large", upload, content=M["toolong"].encode() * 900_000)
        for what, data in (
            ("odd file", b"\x00\x01" + M["oddfile"].encode()),
            ("broken PDF", b"%PDF-1.4\n" + M["brokenpdf"].encode() + b"\nstartxref\n0\n%%EOF"),
            ("broken Word", b"PK\x03\x04" + M["brokenword"].encode() * 50),
        ):
            self.post(what, upload, files={"file": (f"{W['filename']}.pdf", data)})
        self.post("odd form field", upload, files={M["formfield"]: (W["filename"], b"text")})
        boundary = {"Content-Type": f"multipart/form-data; boundary={W['malformed']}"}
        self.post("broken form", upload, content=b"--x\r\n" + M["malformed"].encode(), headers=boundary)
        self.post("long key", upload, text, headers={"Idempotency-Key": W["idempotencykey"] * 20})
        self.call("GET", f"/{W['path']}/{M['path']}?{W['query']}={M['query']}")
        self.call("GET", f"/tasks/{M['path']}?{W['query']}")
        self.call("POST", f"/actions/{W['path']}", json={"text": M["path"]})
        self.call("PUT", f"/actions/{upload}?{W['query']}", json={"text": M["path"]})
        self.post("no résumé", service, {"jobText": JOB_TEXT}, user="new")
        key = {"Idempotency-Key": W["mismatch"]}
        self.accepted("a key", upload, text, headers=key, user="key")
        self.post("mismatch", upload, {"text": M["mismatch"]}, headers=key, user="key")
        for _ in range(61):
            self.call("POST", f"/tasks/{W['path']}/cancel", user="fast")

    def strangers(self) -> None:
        """Whoever is not QStash, or says what QStash never says."""
        self.raw_request()
        keyring = Keyring(self.stack.qstash.signing_keys, random.Random(1))
        other = Keyring(
            SigningKeys("sig_of_somebody_else_entirely_000", "sig_of_somebody_else_entirely_000"),
            random.Random(1),
        )
        odd = head_with(W["signature"])
        message = self.message(Lane.PAID_BATCH)
        bodies = [
            M["callback"].encode(),
            json.dumps({"sourceBody": M["callback"], "sourceMessageId": M["callback"]}).encode(),
            json.dumps(
                {
                    "status": M["callback"],
                    "sourceMessageId": M["callback"],
                    "sourceBody": base64.b64encode(
                        json.dumps(message | {M["callback"]: 1}).encode()
                    ).decode(),
                }
            ).encode(),
            json.dumps(
                {"sourceBody": base64.b64encode(M["callback"].encode()).decode(), "sourceMessageId": 1}
            ).encode(),
        ]
        places = [("actions", f"/callbacks/{name}") for name in ("step", "failure", "sweep", W["callback"])]
        for base, path in places:
            for body in bodies:
                url = self.stack.url(base) + path
                for signature in (
                    keyring.sign(url, body, now_seconds=time.time()),
                    other.sign(url, body, now_seconds=time.time()),
                    f"{odd}.e30.AAAA",
                    W["signature"],
                ):
                    self.call(
                        "POST",
                        path,
                        content=body,
                        headers={"Upstash-Signature": signature},
                    )
        self.deliver_oddly(keyring, odd)

    def deliver_oddly(self, keyring: Keyring, odd: str) -> None:
        for lane in Lane:
            path, good = lane.path(template_of(lane)), self.message(lane)
            for body in (
                M["message"].encode(),
                json.dumps(good | {M["message"]: M["message"]}).encode(),
                json.dumps(good | {"locale": M["message"], "modelId": M["message"]}).encode(),
                json.dumps(good | {"traceparent": M["message"], "counterKey": W["message"]}).encode(),
            ):
                signed = keyring.sign(self.stack.url(lane) + path, body, now_seconds=time.time())
                for signature in (signed, f"{odd}.e30.AAAA", W["signature"]):
                    headers = {"Upstash-Signature": signature, "Content-Type": "application/json"}
                    self.call("POST", path, base=lane, content=body, headers=headers)
            self.call("POST", f"{path}/{W['path']}?{W['query']}", base=lane, content=b"x")

    def raw_request(self) -> None:
        """What no web server takes for HTTP: it must not be in the server's own log."""
        import socket

        for name in self.stack.functions:
            for head in (
                f"GET /{W['path']} {W['query']}",
                f"GET / HTTP/1.1\r\n{W['query']}: \x01{W['query']}\r\nbad\r\n\r\n",
            ):
                port = int(self.stack.url(name).rpartition(":")[2])
                with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                    sock.sendall(f"{head}\r\n\r\n".encode())
                    sock.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(OSError):
                        sock.recv(4096)

    def message(self, lane: Lane) -> dict[str, Any]:
        template = template_of(lane)
        model = ROUTES[template, lane.tier].model
        message = TaskMessage(
            task_id="nothing", service_id="nothing", user_id="nobody", template_id=template, step=0, queue_id=lane,
            model_id=model, tier=lane.tier, counter_key=slots(model, lane.tier), locale="en", retries=0, enqueued_at=0,
        )  # fmt: skip
        parsed: dict[str, Any] = json.loads(message.to_bytes())
        return parsed

    def readers(self) -> None:
        """Streams that are refused, and one that is read."""
        accepted = self.accepted("read", "upload-resume", {"text": RESUME_TEXT})
        self.end("read", accepted)
        path = accepted["streamUrl"].removeprefix(self.stack.url("events"))
        bare = path.partition("?")[0]
        for what, target, headers in (
            ("no token", bare, {"Authorization": ""}),
            ("odd token", f"{bare}?token={W['streamtoken']}", {}),
            (
                "another's token",
                bare.replace("/events/", f"/events/{W['path']}/") + f"?{path.partition('?')[2]}",
                {},
            ),
            ("odd place", path, {"Last-Event-ID": W["lasteventid"]}),
            ("odd place", f"{path}&after={W['lasteventid']}", {}),
            ("odd path", f"/{W['path']}?{path.partition('?')[2]}", {}),
        ):
            self.call("GET", target, base="events", headers=headers, what=what)
        self.call("POST", path, base="events", content=M["path"].encode())
        self.call("GET", path, base="events")

    def failing_models(self) -> None:
        """Everything that a provider and a model can do wrong, quoting what they were told."""
        echo = f"{M['provider']} in your prompt: {RESUME_TEXT} {JOB_TEXT}"
        wrong = json.dumps(
            {"header": M["modelvalue"], "summary": [M["modelvalue"]], M["modelfield"]: {M["modelfield"]: 1}}
        )
        faults: list[dict[str, Any]] = [
            {"kind": "status", "status": 400, "message": echo},
            {"kind": "status", "status": 401, "message": echo},
            {"kind": "status", "status": 422, "message": f"maximum context length. {echo}"},
            {"kind": "status", "status": 429, "message": echo, "retry_after": "1"},
            {"kind": "status", "status": 500, "message": echo},
            {"kind": "error_event", "message": echo},
            {"kind": "cut"},
            {"kind": "unfinished"},
            {"kind": "garbled"},
            {"kind": "invalid_utf8"},
            {"kind": "empty"},
            {"kind": "tool_call"},
            {"kind": "filtered"},
            {"kind": "bad_json"},
            {"kind": "says", "text": M["modelprose"] * 9},
            {"kind": "says", "text": f'{{"header": "{M["modelprose"]}'},
            {"kind": "says", "text": wrong},
            {"kind": "says", "text": f"<think>{M['modelthought']}</think>{wrong}"},
            {"kind": "says", "text": f"I'm sorry, I can't. {M['modelrefusal']}"},
            {"kind": "loop", "text": M["modelprose"]},
        ]
        for number, facts in enumerate(faults):
            self.fail_models(facts, f"model{number % 4}")

    def fail_models(self, facts: Mapping[str, Any], user: str) -> None:
        """Let one thing go wrong in a structured task and in a streamed one."""
        what = f"model, {facts['kind']} {facts.get('status', '')}"
        self.stack.llm.heal()
        if self.call("GET", "/resume", user=user).json()["summary"] is None:
            accepted = self.accepted(
                "a text", "upload-resume", {"text": RESUME_TEXT, "locale": "en"}, user=user
            )
            assert self.end("a text", accepted, user)["state"] == "done"
        self.stack.llm.fail(**facts, times=None)
        upload = self.accepted(what, "upload-resume", {"text": RESUME_TEXT, "locale": "en"}, user=user)
        match = self.accepted(what, "create-service", {"jobText": JOB_TEXT, "locale": "en"}, user=user)
        self.end(f"{what}, structured", upload, user)
        self.end(f"{what}, streamed", match, user)
        self.stack.llm.heal()

    def losses(self) -> None:
        """Killed, cut off, away."""
        stack, proxy = self.stack, self.stack.proxy
        assert proxy is not None
        body = {"jobText": JOB_TEXT, "locale": "en"}
        stack.llm.pace.tokens_per_second = SLOW
        accepted = self.accepted("killed", "create-service", body)
        Reader(accepted["streamUrl"]).wait_for("token_batch")
        stack.kill("paid_stream")
        stack.restart("paid_stream")
        cut = self.accepted("cut", "create-service", body)
        reader = Reader(cut["streamUrl"])
        reader.wait_for("token_batch")
        proxy.refuse()
        self.post("Redis away", "upload-resume", {"text": RESUME_TEXT})
        self.call("GET", f"/tasks/{cut['taskId']}")
        self.call("GET", cut["streamUrl"].removeprefix(stack.url("events")), base="events")
        stack.llm.pace.tokens_per_second = FAST
        proxy.resume()
        self.end("cut", cut)
        self.end("killed", accepted)

        quoted = (
            f"ERR unknown command 'EVALSHA', with args beginning with: '{M['redis']}' '{RESUME_TEXT[:60]}'"
        )
        quoted = quoted.replace("\n", " ")
        for script in ("admit_task", "claim_task", "finish_task", "XADD"):
            fault = proxy.answer(script, quoted, times=None)
            refused = self.post(f"{script} refused", "create-service", body)
            if refused.status_code == 202:
                until(lambda fault=fault: fault.hits or None, f"{script} to be refused")  # type: ignore[misc]
            proxy.heal()
            if refused.status_code == 202:
                self.end(f"{script} refused", refused.json())

        stack.qstash.faults.publish_status = 500
        self.post("publish failed", "upload-resume", {"text": RESUME_TEXT})
        stack.qstash.faults.publish_status = 400
        self.post("publish refused", "create-service", body)
        stack.qstash.faults.clear()

    def cancels(self) -> None:
        """Three at once, one too many, all cancelled."""
        self.stack.qstash.faults.hold = True
        tasks = [self.accepted("held", "upload-resume", {"text": RESUME_TEXT}, user="busy") for _ in range(3)]
        self.post("user busy", "upload-resume", {"text": RESUME_TEXT}, user="busy")
        for task in tasks:
            self.call("POST", f"/tasks/{task['taskId']}/cancel", user="busy")
        self.stack.qstash.faults.clear()
        self.stack.llm.pace.tokens_per_second = SLOW
        running = self.accepted("cancelled", "create-service", {"jobText": JOB_TEXT, "locale": "en"})
        Reader(running["streamUrl"]).wait_for("token_batch")
        self.call("POST", f"/tasks/{running['taskId']}/cancel")
        self.stack.llm.pace.tokens_per_second = FAST
        self.end("cancelled", running)

    def blobs(self) -> None:
        """A picture that is gone when it is read, and a blob store that is away."""
        folder = Path(self.stack._functions["actions"]._environment["BLOB_URL"].removeprefix("file://"))
        photo = {"image": ("photo.png", picture())}
        self.stack.qstash.faults.hold = True
        accepted = self.accepted("picture gone", "create-service", files=photo)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.stack.qstash.faults.clear()
        self.end("picture gone", accepted)
        aside = folder.with_name("aside")
        folder.rename(aside)
        folder.write_bytes(b"")
        self.post("blobs away", "create-service", files=photo)
        folder.unlink()
        aside.rename(folder)

    def forgets(self) -> None:
        self.call("DELETE", "/me", user="busy")


def head_with(extension: str) -> str:
    """Return a token's head that asks for an extension which nobody has: a library's refusal quotes it."""
    head = json.dumps({"alg": "HS256", "crit": [extension]}).encode()
    return base64.urlsafe_b64encode(head).decode().rstrip("=")


def template_of(lane: Lane) -> Template:
    return next(template for template in Template if serves(lane, template))


class LoudStack(Stack):
    """A stack whose functions have every variable that could make a library talk."""

    def __init__(self, tracer_url: str, collector_url: str, build_folder: Any) -> None:
        super().__init__(
            overrides={**OVERRIDES, "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url},
            proxied=True,
            build_folder=build_folder,
            first_token_ms=20,
            tokens_per_second=FAST,
            qstash_time_scale=0.05,
        )
        self._tracer_url = tracer_url

    def _new_process(self, name: str, port: int) -> FunctionProcess:
        process = super()._new_process(name, port)
        process._environment.update({**LOUD, "LANGSMITH_ENDPOINT": self._tracer_url})
        if name in {"actions", "paid_batch"}:  # the framework then brings a log handler of its own
            process._environment["LOG_EXECUTION_ID"] = "true"
        return process


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def stack(build_folder: Any, collector: Collector) -> Iterator[tuple[Stack, Recorder]]:
    with Recorder() as tracer, LoudStack(tracer.url, collector.url, build_folder) as running:
        yield running, tracer


@pytest.fixture(scope="module")
def evidence(stack: tuple[Stack, Recorder], collector: Collector) -> Evidence:
    running, tracer = stack
    walk = Walk(running)
    walk.success()
    walk.refusals()
    walk.strangers()
    walk.readers()
    walk.failing_models()
    walk.cancels()
    walk.blobs()
    walk.losses()
    walk.forgets()
    running.qstash.wait_until_idle(40)
    home = Path(running._functions["actions"]._environment["HOME"]).parent
    files = [path for path in home.rglob("*") if path.is_file()]
    return Evidence(
        sources=emitted(running)
        | {
            "refusals and errors": b"\n".join(walk.answers),
            "traces and metrics": b"\n".join(collector.raw),
        },
        tokens=walk.tokens | {running.ops_token},
        told_models=json.dumps([r.messages for r in running.llm.requests], ensure_ascii=False).encode(),
        left_on_disk={str(path.relative_to(home)): path.read_bytes() for path in files},
        traced=len(tracer.deliveries),
        outcomes=walk.outcomes,
    )


def emitted(stack: Stack) -> dict[str, bytes]:
    """What left the functions for others to see, by where it went."""
    logs = {f"log of {name}": stack._functions[name].log_file.read_bytes() for name in stack.functions}
    return logs | {
        "QStash's log": json.dumps(stack.qstash.events()).encode(),
        "QStash's dead letters": json.dumps(dead_letters(stack)).encode(),
        "the operators' pages": operators_pages(stack),
        "events": json.dumps(events_without_texts(stack)).encode(),
    }


def operators_pages(stack: Stack) -> bytes:
    """Return every page that an operator can walk to, and what scripts are told."""
    seen: dict[str, str] = {}
    ahead = ["/ops", "/ops/tasks", "/ops/dead-letters", "/ops/usage", "/ops/lanes/paid_stream", "/ops/drain"]
    with httpx.Client(base_url=stack.url("actions"), follow_redirects=True, timeout=30) as http:
        http.post("/ops/sign-in", data={"name": "on-call", "token": stack.ops_token})
        while ahead:
            path = ahead.pop()
            if path in seen:
                continue
            seen[path] = html.unescape(http.get(path).text)
            found = re.findall(r'href="(/ops/(?:tasks|dead-letters)[/?][^"]+)"', seen[path])
            ahead += [html.unescape(each) for each in found]
        http.headers["Authorization"] = f"Bearer {stack.ops_token}"
        told = [http.get(path).text for path in ("/ops/api/overview", "/ops/api/dead-letters", "/metrics")]
    assert any(path.startswith("/ops/dead-letters/") for path in seen)
    assert any(path.startswith("/ops/tasks/") for path in seen)
    return "\n".join([*seen.values(), *told]).encode()


def dead_letters(stack: Stack) -> list[Any]:
    found, cursor = [], ""
    while True:
        answer = httpx.get(
            f"{stack.qstash.url}/v2/dlq",
            params={"cursor": cursor} if cursor else {},
            headers={"Authorization": f"Bearer {stack.qstash.token}"},
        ).json()
        found += answer["messages"]
        cursor = answer.get("cursor", "")
        if not cursor:
            return found


def events_without_texts(stack: Stack) -> list[Any]:
    with contextlib.closing(stack.open_store()) as store:
        streams = [store.command("XRANGE", key, "-", "+") for key in store.command("KEYS", "cs:events:*")]
        records = [store.command("HGET", key, "errorMessage") for key in store.command("KEYS", "task:*")]
    events = [json.loads(fields[1]) for entries in streams for _, fields in entries]
    return [event for event in events if event["type"] not in OWN_TEXTS] + records


def test_every_path_was_walked(evidence: Evidence) -> None:
    """What was never refused proves nothing about refusals."""
    codes = {code for _, _, code in evidence.outcomes}
    assert codes >= {
        "invalid_request", "auth_required", "not_found", "method_not_allowed", "resume_required", "file_too_large",
        "unsupported_file_type", "unreadable_file", "text_too_long", "idempotency_mismatch", "user_busy", "rate_limited",
        "publish_failed", "store_unavailable", "bad_signature", "bad_message", "internal", "invalid_output",
        "empty_output", "provider_refused", "provider_error", "provider_disconnected", "provider_rate_limited",
        "context_exceeded", "material_missing",
    }, evidence.outcomes  # fmt: skip
    assert {status for _, status, _ in evidence.outcomes} >= {
        200,
        400,
        401,
        404,
        405,
        409,
        413,
        415,
        422,
        429,
        489,
        500,
        503,
    }


def test_the_models_were_told_what_was_marked(evidence: Evidence) -> None:
    """The detector detects: what a model must see is found there."""
    missing = [
        name
        for name in ("resumetext", "jobtext")
        if "plain" not in MARKS[name].found_in(evidence.told_models)
    ]
    assert missing == []


def test_no_users_and_no_models_text_is_in_a_log_at_qstash_in_an_error_or_in_an_answer(
    evidence: Evidence,
) -> None:
    """D38."""
    assert all(evidence.sources.values())
    assert leaks(evidence.sources, MARKS.values()) == []


def test_no_token_is_in_a_log_at_qstash_or_in_an_answer(evidence: Evidence) -> None:
    """An SSE address holds one, and web servers log addresses."""
    assert len(evidence.tokens) > 20
    found = [
        (source, token)
        for source, data in evidence.sources.items()
        for token in evidence.tokens
        if token.rpartition(".")[2].encode() in data
    ]
    assert found == []


def test_nothing_is_traced_to_a_third_party_though_variables_ask_for_it(evidence: Evidence) -> None:
    assert evidence.traced == 0


def test_no_picture_and_no_text_stays_on_a_functions_disk(evidence: Evidence) -> None:
    assert [name for name in evidence.left_on_disk if name.startswith(("blobs", "aside"))] == []
    assert leaks(evidence.left_on_disk, MARKS.values()) == []


def test_every_line_of_every_log_is_one_json_object_of_a_known_event_or_a_librarys(
    evidence: Evidence,
) -> None:
    """Whatever strangers sent, whatever died: also where the framework writes, as it does in two of them."""
    known = {what.event for what in LogEvent}
    for source, data in evidence.sources.items():
        if not source.startswith("log of"):
            continue
        # The framework, where it writes, puts an empty line after what is said outside of requests.
        lines = [json.loads(line) for line in data.decode().splitlines() if line]
        assert {line["event"] for line in lines if line["logger"].startswith("shared.")} <= known
        assert all({"severity", "time", "message"} <= line.keys() for line in lines)
        labels = [line["logging.googleapis.com/labels"] for line in lines if "event" in line]
        of_requests = [each for each in labels if each["event"] != "function_started"]
        if source in {"log of actions", "log of paid_batch"}:
            assert any("execution_id" in each for each in of_requests)


def test_a_text_planted_in_a_log_is_found(evidence: Evidence, stack: tuple[Stack, Recorder]) -> None:
    """The detector detects, in what it searches."""
    running, _ = stack
    with running._functions["events"].log_file.open("ab") as log:
        log.write(json.dumps({"oops": RESUME_TEXT}).encode())
    found = leaks(emitted(running), [MARKS["resumetext"]])
    assert {line.partition(":")[0] for line in found} == {
        "resumetext in log of events (plain)",
        "resumetext in log of events (JSON)",
    }
