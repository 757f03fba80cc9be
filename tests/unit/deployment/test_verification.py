"""The N×N table: each kind of broken isolation turns its own cells red, and none is green by accident."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx
import pytest
from rich.console import Console

from deployment.verification import (
    EXPIRED,
    NEXT_KEY,
    OTHER_BODY,
    UNKNOWN_KEY,
    UNSIGNED,
    Table,
    Verifier,
    signed_for,
)
from shared.settings import SigningKeys
from tests.unit.deployment.functions_kit import KEYS, NAMES, Waiting, World

SPECIAL = {NEXT_KEY, UNSIGNED, UNKNOWN_KEY, EXPIRED, OTHER_BODY}


def verify(
    world: World, refused_keys: Mapping[str, str] | None = None, stopped: tuple[str, ...] = ()
) -> Table:
    waiting = Waiting()
    with world.client() as client:
        verifier = Verifier(
            world.urls,
            KEYS,
            client,
            stopped=stopped,
            refused_keys=refused_keys,
            wait=waiting.wait,
            clock=waiting.clock,
        )
        return verifier.verify()


def red(table: Table) -> set[tuple[str, str]]:
    assert table.ok == (not table.wrong)
    return {(cell.row, cell.column) for cell in table.wrong}


def test_a_sound_environment_is_green_in_every_cell_and_each_pair_was_asked() -> None:
    table = verify(World())
    assert table.ok
    assert table.columns == NAMES
    assert set(table.rows) == {signed_for(name) for name in NAMES} | SPECIAL
    assert len(table.cells) == len(table.rows) * len(table.columns)
    accepted = {(cell.row, cell.column) for cell in table.cells if cell.status == 200}
    assert accepted == {(signed_for(name), name) for name in NAMES} | {(NEXT_KEY, name) for name in NAMES}
    assert {cell.status for cell in table.cells} == {200, 401}


def test_events_takes_no_deliveries_and_is_no_column() -> None:
    assert "events" not in verify(World()).columns


def test_a_lane_with_anothers_route_url_refuses_its_own_and_takes_the_others() -> None:
    world = World()
    # The other lane's address with its own path: what QStash signs for the other lane has another path, so
    # that only its own cells can tell.
    world.change("paid_stream", url=world.urls["free_stream"])
    assert red(verify(world)) == {(signed_for("paid_stream"), "paid_stream"), (NEXT_KEY, "paid_stream")}


def test_two_functions_at_one_address_show_in_the_column_of_the_one_that_is_not_there() -> None:
    world = World()
    world.urls["paid_batch"] = world.urls["free_batch"]
    wrong = red(verify(world))
    assert wrong
    assert {column for _row, column in wrong} == {"paid_batch"}


def test_another_function_behind_a_lanes_address_shows_though_all_of_its_answers_are_200() -> None:
    world = World()
    # A copy of the bundle that calls itself by another name.
    broken = world.functions[world.urls["paid_vision"]]

    def answer(request: httpx.Request) -> httpx.Response:
        reply = world.functions[f"https://{request.url.host}"].answer(request)
        if request.url.host == "paid-vision.example" and reply.status_code == 200:
            return httpx.Response(200, json={**reply.json(), "function": "free_batch"})
        return reply

    assert broken.name == "paid_vision"
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        table = Verifier(world.urls, KEYS, client, clock=Waiting().clock).verify()
    assert red(table) == {(signed_for("paid_vision"), "paid_vision"), (NEXT_KEY, "paid_vision")}


@pytest.mark.parametrize("name", ["free_stream", "actions"])
def test_keys_of_another_environment_show_on_the_diagonal(name: str) -> None:
    world = World()
    world.change(name, keys=SigningKeys("sig_foreign-1", "sig_foreign-2"))
    assert red(verify(world)) == {(signed_for(name), name), (NEXT_KEY, name)}


def test_a_function_that_lacks_the_next_key_alone_shows_in_that_row() -> None:
    world = World()
    world.change("paid_batch", keys=SigningKeys(KEYS.current, "sig_foreign"))
    assert red(verify(world)) == {(NEXT_KEY, "paid_batch")}


def test_a_function_that_still_takes_an_old_key_shows_in_its_row() -> None:
    world = World()
    world.change("paid_batch", keys=SigningKeys(KEYS.current, "sig_old"))
    wrong = red(verify(world, refused_keys={"with the key before": "sig_old"}))
    assert wrong == {("with the key before", "paid_batch"), (NEXT_KEY, "paid_batch")}


def test_a_function_that_takes_everything_is_red_wherever_it_must_refuse() -> None:
    world = World()
    world.change("free_batch", status=200, body={"status": "probe", "function": "free_batch"})
    table = verify(world)
    assert {column for _row, column in red(table)} == {"free_batch"}
    assert {row for row, _column in red(table)} == set(table.rows)


def test_a_refusal_by_something_in_front_of_the_function_is_no_refusal_of_the_function() -> None:
    world = World()
    world.change("free_batch", status=401, body={"Message": "Forbidden"})
    assert {column for _row, column in red(verify(world))} == {"free_batch"}


def test_a_lost_connection_is_tried_again_and_a_status_is_not() -> None:
    world = World()
    world.failures = [httpx.ConnectError, httpx.ReadError]
    assert verify(world).ok
    again = World()
    again.failures = [503]
    assert len(red(verify(again))) == 1


def test_a_function_that_cannot_be_reached_is_red_and_says_why() -> None:
    world = World()
    world.failures = [httpx.ConnectError] * 10_000
    table = verify(world)
    assert len(table.wrong) == len(table.cells)
    assert "nothing (ConnectError)" in table.wrong[0].described()


def test_a_stopped_function_must_answer_nobody() -> None:
    world = World()
    world.change("free_batch", status=503, body={"error": "stopped"})
    assert verify(world, stopped=("free_batch",)).ok
    world.change("free_batch", status=None)
    assert {column for _row, column in red(verify(world, stopped=("free_batch",)))} == {"free_batch"}


def test_no_environment_is_not_a_sound_one() -> None:
    assert not verify(World(names=())).ok


def test_the_texts_mark_wrong_cells_without_colour_and_name_them() -> None:
    world = World()
    world.change("paid_batch", keys=SigningKeys(KEYS.current, "sig_foreign"))
    table = verify(world)
    text = table.to_text()
    assert "401!" in text
    assert f"! {NEXT_KEY}, delivered to paid_batch: 401 (bad_signature) where 200 was expected" in text
    console = Console(width=100, record=True, no_color=True, file=None)
    with console.capture() as capture:
        console.print(table.to_rich())
    assert capture.get().count("401!") == 1
    for key in (KEYS.current, KEYS.next, "eyJ"):
        assert key not in text
        assert key not in capture.get()


def test_the_table_is_json_for_machines() -> None:
    document = json.loads(json.dumps(verify(World()).to_json()))
    assert document["ok"] is True
    assert document["cells"][0] == {
        "row": "signed for paid_stream",
        "column": "paid_stream",
        "expected": [200],
        "status": 200,
        "ok": True,
        "said": "paid_stream",
    }
