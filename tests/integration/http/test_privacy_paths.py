"""No user's text leaves by an error, a log line or a queue message, whatever goes wrong where.

`e2e/test_privacy.py` walks every path on the deployed processes; here single faults are forced that no provider, no
browser and no Redis can be made to show from outside.
"""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from shared.errors import BlobUnavailable, StoreUnavailable
from shared.settings import LogFormat, LogSettings
from shared.state.store import CommandRefused, refusal_text
from tests.integration.http.kit import World, callback_body, changed, data_url, user_token
from tests.integration.http.stand_ins import Fault, Published, RecordingQStash, Running, failing, wait_for
from tests.logs_kit import Log, logging_to
from tests.marks_kit import Mark, leaks

RESUME, JOB, SAID, KEY, TRACE = (Mark(name) for name in ("resume", "job", "said", "key", "trace"))
MARKS = (RESUME, JOB, SAID, KEY, TRACE)
OWN_TEXTS = {"token_batch", "step_result", "done", "resync"}
HEADERS = {"traceparent": TRACE.word, "tracestate": f"a={TRACE.word}", "User-Agent": TRACE.word}


class WatchedQStash(RecordingQStash):
    """Keeps every request, also the ones that it refuses or never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Published] = []

    def take(self, publish: Published) -> int | None:
        self.seen.append(publish)
        return super().take(publish)


class Watch:
    """What a test's world has said to anybody but the user whose text it is."""

    def __init__(self, world: World, qstash: WatchedQStash, log: io.StringIO) -> None:
        self.world = world
        self.qstash = qstash
        self.log = log
        self.answers: list[bytes] = []

    def hear(self, response: httpx.Response) -> httpx.Response:
        self.answers.append(response.content + repr(response.headers.raw).encode())
        return response

    def emitted(self, *task_ids: str) -> dict[str, bytes]:
        records = [self.world.record(task_id) for task_id in task_ids]
        events = [event for task_id in task_ids for event in self.world.events(task_id)]
        return {
            "log": self.log.getvalue().encode(),
            "queue": repr([(p.destination, p.headers, p.body) for p in self.qstash.seen]).encode(),
            "answers": b"\n".join(self.answers),
            "events": json.dumps([event for event in events if event["type"] not in OWN_TEXTS]).encode(),
            "errors": json.dumps([[r.get("errorCode"), r.get("errorMessage")] for r in records]).encode(),
        }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the process would log, with every logger as loud as it gets."""
    root = logging.getLogger()
    level = root.level
    with logging_to(Log(), LogSettings("DEBUG", LogFormat.JSON)) as out:
        root.setLevel(logging.DEBUG)
        yield out
        root.setLevel(level)


@pytest.fixture
def watch(redis_url: str, tmp_path: Path, log: io.StringIO) -> Iterator[Watch]:
    with World(redis_url, tmp_path, {"TASK_RETRIES": "0"}) as world:
        world.qstash = qstash = WatchedQStash()
        yield Watch(world, qstash, log)


def validation_error() -> Exception:
    with pytest.raises(ValueError) as raised:
        TypeAdapter(dict[str, int]).validate_python({SAID.text: RESUME.text})
    return raised.value


ERRORS = {
    "a bare one": RuntimeError(f"{RESUME.text} {SAID.text}"),
    "a missing name": KeyError(RESUME.text),
    "half a character": UnicodeEncodeError("utf-8", RESUME.text + "\ud800", 9, 10, "surrogates not allowed"),
    "pydantic's": validation_error(),
    "a store's": StoreUnavailable(f"Redis: while writing {RESUME.text}"),
    "a blob store's": BlobUnavailable(f"no such file: {RESUME.text}"),
    "a refusal of Redis": CommandRefused(
        refusal_text(f"ERR unknown command 'EVALSHA', with args beginning with: '{RESUME.text}'")
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_attempts_error_is_told_and_logged_without_what_it_quotes(watch: Watch, name: str) -> None:
    accepted, publish = watch.world.start(body={"text": RESUME.text}, key=KEY.word, **HEADERS)
    watch.world.model.acts.append(failing(ERRORS[name]))
    watch.hear(watch.world.deliver(publish))
    watch.hear(watch.world.report("failure", publish, status=489))
    status = watch.world.get(f"/tasks/{accepted['taskId']}").json()
    assert status["error"]["message"]
    assert watch.log.getvalue()
    emitted = {**watch.emitted(accepted["taskId"]), "status": json.dumps(status["error"]).encode()}
    assert leaks(emitted, MARKS) == []


def test_an_error_on_the_way_of_a_text_already_streamed_tells_nothing_of_it(watch: Watch) -> None:
    watch.world.with_resume()

    accepted, publish = watch.world.start("create-service", {"jobText": JOB.text}, key=KEY.word, **HEADERS)

    def act(running: Running) -> Any:
        running.on_text(f"score: 80\n{SAID.text}")
        wait_for(lambda: SAID.text in watch.world.text(accepted["taskId"]))
        raise ValueError(SAID.text)

    watch.world.model.acts.append(act)
    watch.hear(watch.world.deliver(publish))
    assert leaks(watch.emitted(accepted["taskId"]), MARKS) == []


@pytest.mark.parametrize(
    "fault",
    [Fault(400), Fault(500), Fault(None), Fault(500, accepted=True)],
    ids=["400", "500", "none", "unknown"],
)
def test_a_publish_carries_no_text_also_when_it_fails(watch: Watch, fault: Fault) -> None:
    """D38."""
    watch.world.with_resume()
    watch.qstash.seen.clear()
    for body in ({"jobText": JOB.text}, {"jobImage": data_url()}):
        watch.qstash.faults.extend([fault, fault])
        refused = watch.hear(
            watch.world.ask("create-service", body, key=KEY.word + next(iter(body)), **HEADERS)
        )
        assert refused.status_code == 503
    assert watch.qstash.seen
    assert leaks(watch.emitted(), MARKS) == []


def test_an_unexpected_error_of_an_action_is_answered_and_logged_without_what_it_quotes(
    watch: Watch,
) -> None:
    def publish(_: httpx.Request) -> httpx.Response:
        raise ERRORS["half a character"]

    watch.world.publisher = lambda: httpx.Client(transport=httpx.MockTransport(publish))
    answer = watch.hear(watch.world.ask("upload-resume", {"text": RESUME.text}, key=KEY.word, **HEADERS))
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "UnicodeEncodeError" in watch.log.getvalue()
    assert leaks(watch.emitted(), MARKS) == []


def test_half_a_character_is_refused_as_no_text(watch: Watch) -> None:
    """JSON can hold it, nothing behind can store it."""
    text = json.dumps({"text": RESUME.text + "\ud800"})
    sent = {"Authorization": f"Bearer {user_token('ada')}", "Idempotency-Key": KEY.word}
    url = f"{watch.world.actions_url}/actions/upload-resume"
    answer = watch.hear(watch.world.http.post(url, content=text, headers=sent))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    whole = watch.world.ask("upload-resume", {"text": "A pair \U0001f600 is whole."})
    assert whole.status_code == 202
    assert leaks(watch.emitted(), MARKS) == []


@pytest.mark.parametrize("field", [RESUME.text, RESUME.text * 9, f"{RESUME.word} with words"])
def test_an_unknown_field_is_not_named_when_its_name_is_a_text(watch: Watch, field: str) -> None:
    for action, body in (
        ("upload-resume", {"text": "x", field: JOB.text}),
        ("create-service", {"jobText": "x", field: JOB.text}),
        ("interview-tips", {"serviceId": "x", field: JOB.text}),
    ):
        assert watch.hear(watch.world.ask(action, body)).json()["message"].startswith("body: ")
    form = {field: ("x.txt", b"text")}
    sent = {"Authorization": f"Bearer {user_token('ada')}"}
    watch.hear(
        watch.world.http.post(f"{watch.world.actions_url}/actions/upload-resume", files=form, headers=sent)
    )
    assert leaks(watch.emitted(), MARKS) == []


def test_a_message_and_a_callback_that_are_none_are_refused_without_quoting_them(watch: Watch) -> None:
    """What a refusal says goes into QStash's log and its dead letters."""
    accepted, publish = watch.world.start(body={"text": RESUME.text})
    for fields in (
        {SAID.text: JOB.text},
        {"locale": JOB.text},
        {"counterKey": JOB.text * 99},
        {"traceparent": TRACE.text},
    ):
        odd = changed(publish, **fields)
        watch.hear(watch.world.deliver(odd))
        watch.hear(watch.world.call_back("failure", callback_body(odd)))
    for body in (
        JOB.text.encode(),
        json.dumps({"sourceBody": JOB.text}).encode(),
        json.dumps([JOB.text]).encode(),
    ):
        for name in ("step", "failure"):
            assert watch.hear(watch.world.call_back(name, body)).status_code == 489
    assert leaks(watch.emitted(accepted["taskId"]), MARKS) == []


@pytest.mark.parametrize(
    "encoded",
    [
        RESUME.text.encode(),
        RESUME.letters.encode(),
        json.dumps({"a": RESUME.letters}).encode(),
        repr(RESUME.letters.encode()).encode(),
        str(httpx.QueryParams({"q": RESUME.letters})).encode(),
        *(base64.b64encode(b"x" * shift + RESUME.text.encode() + b"yz") for shift in range(3)),
        *(base64.urlsafe_b64encode(b"x" * shift + RESUME.letters.encode() + b"yz") for shift in range(3)),
        RESUME.word.encode("utf-16-be"),
        ("x" + RESUME.letters).encode("utf-16"),
        RESUME.letters.encode("gb18030"),
        RESUME.text.encode().hex().encode(),
        RESUME.word.upper().encode(),
    ],
)
def test_the_detector_finds_a_text_in_every_form(encoded: bytes) -> None:
    noise = b"2026-11-24 INFO nothing to see here "
    assert leaks({"log": noise}, MARKS) == []
    assert len({line.partition(" in ")[0] for line in leaks({"log": noise + encoded + noise}, MARKS)}) == 1
