"""`sluice dlq` and `sluice replay` against a real `actions`: what they say, do, and end with."""

from __future__ import annotations

import io
from dataclasses import dataclass
from urllib.parse import unquote

import pytest

from devstack.valkey import free_port
from shared.errors import PermanentTaskError
from shared.state.replays import successor_id
from tests.integration.http.kit import JOB, World
from tests.integration.http.stand_ins import failing
from tests.integration.tool_kit import Ran, call
from tests.logs_kit import Log, logging_to

TOKEN = "a token of operators alone, of thirty-two bytes and more"
BROKEN = failing(PermanentTaskError("invalid_output", "The answer is no JSON."))


@dataclass
class Terminal:
    """The program, called in this process under an environment of its own."""

    world: World
    patch: pytest.MonkeyPatch
    url: str | None = None
    token: str = TOKEN

    def __call__(self, *arguments: str) -> Ran:
        url = self.url or self.world.actions_url
        return call(*arguments, ACTIONS_URL=url, OPS_TOKEN=self.token)

    def type(self, answer: str) -> None:
        """Sit before a terminal, and type this when asked."""
        keyboard = io.StringIO(f"{answer}\n")
        keyboard.isatty = lambda: True  # type: ignore[method-assign]
        self.patch.setattr("sys.stdin", keyboard)


@pytest.fixture
def sluice(world: World, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    world.change(OPS_TOKEN=TOKEN)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return Terminal(world, monkeypatch)


def fail_match(world: World) -> tuple[str, str]:
    world.with_resume()
    accepted, publish = world.start("create-service", {"jobText": JOB})
    world.model.acts.append(BROKEN)
    world.deliver(publish)
    return str(accepted["taskId"]), world.qstash.give_up(publish)


def test_dead_letters_are_listed_with_their_tasks_and_what_a_replay_would_do(sluice: Terminal) -> None:
    assert sluice("dlq") == Ran(0, "There are no dead letters.\n", "")
    task_id, letter_id = fail_match(sluice.world)
    for _ in range(60):
        sluice.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    listed = sluice("dlq")
    assert listed.status == 0
    for told in (letter_id, task_id, "failed", "489 invalid_output", "readmit", "job_match in paid_stream"):
        assert told in listed.out, told
    letters = sluice("dlq", "--json").json
    assert len(letters) == 61


def test_a_letter_is_deleted_once_and_only_when_somebody_says_yes(sluice: Terminal) -> None:
    letter_id = sluice.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    unasked = sluice("dlq", "delete", letter_id)
    assert (unasked.status, unasked.err) == (1, "dlq: nobody can be asked here: add --yes\n")
    sluice.type("n")
    assert sluice("dlq", "delete", letter_id).status == 1
    assert sluice.world.qstash.letters
    assert sluice("dlq", "delete", letter_id, "--yes").status == 0
    again = sluice("dlq", "delete", letter_id, "--yes")
    assert (again.status, again.err.startswith("dlq: There is no such dead letter")) == (1, True)


def test_a_replay_says_what_it_will_do_and_does_it_once(sluice: Terminal) -> None:
    task_id, letter_id = fail_match(sluice.world)
    new = successor_id(task_id)
    sluice.type("no")
    unwilling = sluice("replay", letter_id)
    assert (unwilling.status, sluice.world.tasks.read(new)) == (1, None)
    assert "a new task takes its place, for 2 coins" in unwilling.out
    sluice.type("y")
    replayed = sluice("replay", letter_id, "--by", "ada")
    assert (replayed.status, f"is replayed as the new task {new}." in replayed.out) == (0, True)
    again = sluice("replay", task_id, "--yes")
    assert (again.status, f"was replayed before as the new task {new}." in again.out) == (0, True)
    as_json = sluice("replay", task_id, "--yes", "--json").json
    assert (as_json["taskId"], as_json["replay"]) == (new, True)


def test_a_task_that_waits_is_told_from_one_that_failed(sluice: Terminal) -> None:
    accepted, publish = sluice.world.start()
    nothing = sluice("replay", accepted["taskId"])
    assert (nothing.status, "there is nothing to replay" in nothing.err) == (1, True)
    letter_id = sluice.world.qstash.give_up(publish, status=503)
    sent = sluice("replay", letter_id, "--yes")
    assert (sent.status, sent.out) == (0, f"Sent again: task {accepted['taskId']} goes on with it.\n")


def test_a_refusal_is_one_line_and_status_1(sluice: Terminal) -> None:
    accepted, publish = sluice.world.start()
    sluice.world.model.acts.append(BROKEN)
    sluice.world.deliver(publish)
    for arguments in ((accepted["taskId"],), (accepted["taskId"], "--yes")):
        refused = sluice("replay", *arguments)
        assert (refused.status, refused.out) == (1, "")
        assert refused.err.startswith("replay: The text of an upload is not kept")
    assert sluice("replay", "nothing", "--yes").status == 1


def test_a_wrong_token_or_address_is_the_configurations_fault(sluice: Terminal) -> None:
    for change, told in (
        ({"token": "wrong"}, "OPS_TOKEN: it is not the token"),
        ({"url": f"{sluice.world.actions_url}/"}, "ACTIONS_URL must be a base URL"),
        ({"token": ""}, "OPS_TOKEN is missing"),
    ):
        ran = Terminal(sluice.world, sluice.patch, **change)("dlq")
        assert (ran.status, told in ran.err) == (2, True), ran.err
    assert sluice("replay", "x", "--json").status == 2


def test_a_name_of_any_letters_is_known_to_the_log_and_none_is_refused_in_a_line(sluice: Terminal) -> None:
    letter_id = sluice.world.qstash.keep_letter("https://elsewhere.test/x", b"{}")
    with logging_to(Log()) as log:
        deleted = sluice("dlq", "delete", letter_id, "--yes", "--by", "阿达 Lovelace")
        refused = sluice("dlq", "delete", letter_id, "--yes", "--by", "x" * 65)
    assert deleted.status == 0, deleted.err
    (told,) = log.told("operator_acted")
    assert unquote(told["by"]) == "阿达-Lovelace"
    assert (refused.status, refused.err) == (1, "dlq: name: must have 1 to 64 printable characters\n")


def test_without_operators_access_it_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Terminal(world, monkeypatch)("dlq")
    assert (ran.status, "runs without OPS_TOKEN" in ran.err) == (2, True)


def test_no_answer_is_status_3_and_asking_again_is_safe(sluice: Terminal) -> None:
    away = Terminal(sluice.world, sluice.patch, url=f"http://127.0.0.1:{free_port()}")("replay", "x", "--yes")
    assert (away.status, "Asking again is safe" in away.err) == (3, True)
    sluice.world.qstash.is_away = True
    broken = sluice("dlq")
    assert (broken.status, broken.err) == (
        3,
        "dlq: QStash is not available; try again shortly. Come back in 5 s.\n",
    )
