"""Header, body, wrapper and page of each Lua script say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.actions.rates import RequestRates
from shared.config import RateLimits, StreamSettings, TimeSettings, get_concurrency_config
from shared.routing import CREATE_SERVICE_TEXT, Lane, Model, Template, Tier
from shared.state import keys
from shared.state.controls import Controller
from shared.state.erasure import erase_user
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, Attempt, Finished, Step
from shared.state.quota import grant
from shared.state.reconciliation import reconcile
from shared.state.replays import link
from shared.state.scripts import LUA_FOLDER, Script, load_script
from shared.state.sums import fold, read_sums
from shared.state.tasks import Tasks

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "transitions.md"
SCRIPTS = sorted(path.stem for path in LUA_FOLDER.glob("*.lua") if not path.stem.startswith("lib_"))
KEY_COUNT = 14 + len(Lane)
OTHER_KEYS = {
    "admit_task": KEY_COUNT + len(Lane),
    "change_control": 2,
    "check_account": 2,
    "check_member": 2,
    "check_slots": 1,
    "count_request": 2,
    "count_tasks": 3,
    "fold_journal": 4,
    "fold_tallies": 1,
    "forget_user": 7,
    "grant_quota": 2,
    "link_replay": 2,
}
"""How many keys a script takes that does not take just what every transition of a task does."""
REF = TaskRef("t", "s", "u")
STEP = Step(Template.JOB_MATCH, Lane.PAID_STREAM, Model.DEEPSEEK_REASONER, 1000)
ATTEMPT = Attempt(
    ref=REF,
    step=0,
    number=1,
    epoch="1",
    holder="t:0:1",
    model=STEP.model,
    tier=Tier.PAID,
    lane=STEP.lane,
    locale="en",
    created_at_ms=1,
    input={},
)
ANSWERS: dict[str, Any] = {
    "admit_task": '{"status":"accepted"}',
    "claim_task": '{"status":"no_slot"}',
    "requeue_task": '{"status":"ended"}',
    "read_task": "null",
    "cancel_task": "done",
    "begin_publish": 0,
    "list_overdue": [],
    "count_request": [1, 0, 1, 60_000],
    "grant_quota": '{"status":"granted","coins":5,"balance":13}',
    "forget_user": '{"status":"busy"}',
    "change_control": '{"status":"set","at":"1","before":null,"after":null}',
    "fold_journal": "folded",
    "count_tasks": [0, 0],
    "check_account": "[]",
    "check_member": '{"status":"right"}',
    "check_slots": '{"live":0,"lapsed":0,"tooLong":[]}',
    "check_task": "[]",
}


STEP_END: dict[str, Any] = {
    **dict.fromkeys(("taskId", "user", "tier", "action", "lane", "template", "model"), "x"),
    **dict.fromkeys(("step", "attempts", "waitedMs", "runMs", "latencyMs", "refunded", "at"), 1),
    **dict.fromkeys(("in", "out", "cached", "costMicros"), 1),
    "state": "done",
    "code": "",
    "currency": "CNY",
    "last": True,
}


@dataclass
class RecordingStore:
    """A store that keeps what it is sent and answers as a script would."""

    sent: dict[str, tuple[Sequence[str], Sequence[Any]]] = field(default_factory=dict)

    def command(self, *args: str | float | bytes) -> Any:
        return None

    def pipeline(self, commands: Sequence[Sequence[str | float | bytes]]) -> list[Any]:
        return [[] for _ in commands]

    def script(self, script: Script, keys: Sequence[str], args: Sequence[str | float | bytes]) -> Any:
        self.sent[script.name] = (keys, args)
        return ANSWERS.get(script.name, "")

    def close(self) -> None:
        return None


class JournalledStore(RecordingStore):
    """A store with one step that ended, for whoever adds up."""

    def command(self, *args: str | float | bytes) -> Any:
        answers = {"XRANGE": [["1-0", ["e", json.dumps(STEP_END)]]], "HGETALL": []}
        return answers.get(str(args[0]))


class ScannedStore(RecordingStore):
    """A store with one task, its place and its account, for whoever looks for names."""

    def command(self, *args: str | float | bytes) -> Any:
        return ["0", ["task:t", "quota:a"] if args[0] == "SCAN" else ["t:0", "1"]]

    def pipeline(self, commands: Sequence[Sequence[str | float | bytes]]) -> list[Any]:
        return [["u", "s", "paid", "0", "[]"] for _ in commands]


@pytest.fixture(scope="module")
def sent() -> dict[str, tuple[Sequence[str], Sequence[Any]]]:
    """What each wrapper sends."""
    store = RecordingStore()
    limits = get_concurrency_config({})
    time = TimeSettings(30, 300, 480, 600, 3, 5, 604800, 31_536_000)
    stream = StreamSettings(100, 64, 86400, 10000, 15, 840)
    tasks = Tasks(store, concurrency=limits, time=time, stream=stream)
    tasks.admit(Admission(REF, CREATE_SERVICE_TEXT, "en", {}, 8))
    tasks.begin_publish(REF, 0)
    tasks.confirm_publish(REF, 0, 1)
    tasks.requeue(REF, step=STEP, index=0, tier=Tier.PAID, message_id="m", refused=False)
    tasks.cancel(REF)
    tasks.claim(REF, step=0, at=STEP, tier=Tier.PAID, nonce="x")
    tasks.renew(ATTEMPT)
    tasks.finish(ATTEMPT, Finished("{}", {}, {}))
    tasks.release(ATTEMPT, code="c", message="m", retry_after_seconds=1)
    tasks.fail(ATTEMPT, code="c", message="m")
    tasks.read("t")
    tasks.overdue()
    tasks.sweep(REF, step=STEP, tier=Tier.PAID)
    erase_user(store, "u")
    grant(store, "u", 5, "r", initial=8)
    link(store, "t", "t2")
    Controller(store).drain(by="o", reason="r")
    fold(JournalledStore(store.sent))
    read_sums(JournalledStore(store.sent))
    RequestRates(store, RateLimits(reads="3/minute", writes="3/minute")).count("u", writes=False)
    reconcile(ScannedStore(store.sent), concurrency=limits, time=time, stream=stream)
    return store.sent


def _header(name: str) -> dict[str, str]:
    """Return a header's sections: what stands before the keys, and after KEYS, ARGV and returns."""
    text = (LUA_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    lines = [line[2:].strip() for line in text.split("\n\n", 1)[0].splitlines()]
    assert all(line.startswith("--") for line in text.split("\n\n", 1)[0].splitlines())
    parts = re.split(r"(?:^|\s)(KEYS|ARGV|returns)\s", " ".join(lines))
    return {"purpose": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def _body(name: str) -> str:
    return (LUA_FOLDER / f"{name}.lua").read_text(encoding="utf-8").split("\n\n", 1)[1]


def _json_names(argv: str) -> set[str]:
    """Return the names that `1 JSON: a, b (ms), c {d, e}` lists at its top."""
    text = argv.split("JSON:", 1)[1]
    for brackets in (r"\([^()]*\)", r"\{[^{}]*\}"):
        text = re.sub(brackets, "", text)
    return {part.split()[0] for part in text.split(",")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_opens_with_its_purpose_keys_arguments_and_answer(name: str) -> None:
    header = _header(name)
    assert set(header) == {"purpose", "KEYS", "ARGV", "returns"}
    assert all(header.values())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_every_argument_that_its_header_lists_and_no_other(name: str) -> None:
    argv, body = _header(name)["ARGV"], _body(name)
    used = set(re.findall(r"\bq\.(\w+)", body))
    if "JSON:" in argv:
        assert used == _json_names(argv)
        return
    numbers = set(re.findall(r"(?<!\w)(\d)\s+[a-z]", argv))
    assert set(re.findall(r"ARGV\[(\d)\]", body)) == numbers
    assert not used


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_wrapper_sends_what_its_script_takes(name: str, sent: dict[str, Any]) -> None:
    argv = _header(name)["ARGV"]
    key_list, args = sent[name]
    assert len(key_list) == OTHER_KEYS.get(name, KEY_COUNT)
    if "JSON:" in argv:
        assert set(json.loads(args[0])) == _json_names(argv)
    else:
        assert len(args) == len(re.findall(r"(?<!\w)(\d)\s+[a-z]", argv))


def test_every_script_has_a_wrapper(sent: dict[str, Any]) -> None:
    assert sorted(sent) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_answers_only_what_its_header_says(name: str) -> None:
    answers = set(re.findall(r"(?:status = |return |and |or )'(\w+)'", _body(name)))
    assert answers - set(re.findall(r"\w+", _header(name)["returns"])) - {"paid", "free"} == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_names_all_its_keys(name: str) -> None:
    """On Upstash a script with `allow-key-locking` locks the keys that it was given, and may touch no other."""
    literal = re.findall(r"redis\.call\('[A-Z]+', ([^,)]+)", load_script(name).source)
    allowed = re.compile(r"KEYS\[\d+\]|unpack\(KEYS|key|(queue|promised)_key\(.*")
    assert [key for key in literal if not allowed.fullmatch(key.strip())] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_reads_no_clock_but_redis_own(name: str, sent: dict[str, Any]) -> None:
    """D1: no worker's clock decides about a lease, a place or a deadline."""
    assert not {"now", "nowMs", "at"} & (
        _json_names(argv) if "JSON:" in (argv := _header(name)["ARGV"]) else set()
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_a_section_in_the_documentation(name: str) -> None:
    assert f"### `{name}`" in PAGE.read_text(encoding="utf-8")


def test_the_documentation_has_no_section_of_a_script_that_is_gone() -> None:
    sections = re.findall(r"^### `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(sections) == SCRIPTS


def test_every_key_has_a_row_in_the_documentation() -> None:
    rows = re.findall(r"^\| (`[^`]+`) \| \w[\w ]* \|", keys.__doc__ or "", re.MULTILINE)
    assert len(rows) == 22
    page = PAGE.read_text(encoding="utf-8")
    assert [row for row in rows if f"| {row} |" not in page] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_answer_of_a_script_is_in_the_documentation(name: str) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"### `{name}`", 1)[1].split("\n### ", 1)[0]
    answers = set(re.findall(r"(?:status = |return )'(\w+)'", _body(name)))
    assert [answer for answer in answers if f"`{answer}`" not in section] == []
