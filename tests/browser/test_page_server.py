"""The page's server, over HTTP: what it hands out, and to whom it does not listen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.frontend import Frontend
from devstack.page.markdown import to_html
from devstack.page.pictures import MAX_BYTES, SCENES
from devstack.page.server import PageServer
from devstack.stack import Stack

ROOT = Path(__file__).parents[2]


@pytest.fixture
def http(served: tuple[Stack, PageServer]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served[1].origin) as client:
        yield client


def test_an_order_that_another_origin_s_page_could_send_is_refused(http: httpx.Client) -> None:
    form = http.post("/dev/faults/hold", content="{}", headers={"Content-Type": "text/plain"})
    assert form.status_code == 415
    assert http.get("/dev/live").json()["faults"]["hold"] is False
    assert http.options("/dev/faults/hold", headers={"Origin": "http://evil.example"}).status_code == 405


def test_the_server_answers_under_no_other_name_than_this_machine_s(http: httpx.Client) -> None:
    """A stranger's name that leads to 127.0.0.1 opens nothing: there are tokens here."""
    assert http.get("/dev/token", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/dev/samples/../stack.py", "/dev/samples/%2e%2e/stack.py", "/dev/static/../server.py"]
)
def test_no_file_is_served_that_is_not_the_page_s(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


def test_unknown_faults_and_lanes_are_refused(http: httpx.Client) -> None:
    assert http.post("/dev/faults/earthquake", json={}).status_code == 404
    assert http.post("/dev/faults/kill", json={"lane": "events"}).status_code == 404
    assert http.post("/dev/faults/kill", json={}).status_code == 404


def test_coins_are_granted_and_taken_and_the_ledger_explains_them(
    http: httpx.Client, served: tuple[Stack, PageServer]
) -> None:
    user = Frontend(served[0], "coins-of-the-page")
    assert http.post("/dev/coins", json={"user": user.user, "coins": 8}).json() == {"status": "granted"}
    assert user.balance() == 16
    assert http.post("/dev/coins", json={"user": user.user, "coins": -16}).json() == {"status": "granted"}
    assert user.balance() == 0
    assert http.post("/dev/coins", json={"user": user.user, "coins": -1}).json() == {"status": "short"}
    wrongs: list[Any] = [
        {"user": user.user, "coins": 0},
        {"user": user.user, "coins": True},
        {"coins": 3},
        [],
    ]
    for wrong in wrongs:
        assert http.post("/dev/coins", json=wrong).status_code == 400


def test_the_page_may_load_nothing_from_elsewhere(http: httpx.Client) -> None:
    policy = http.get("/dev/sse").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<script>x</script>", "<script"),
        ("<img src=x onerror=y>", "<img"),
        ("![a](http://evil.example/p.png)", "<img"),
        ("[a](javascript:alert(1))", "href"),
        ("[a](JaVaScRiPt:alert(1))", "href"),
        ("[a](data:text/html,x)", "href"),
        ("[a](vbscript:x)", "href"),
        ("[a](&#x6A;avascript:alert(1))", "href"),
        ("<javascript:alert(1)>", "href"),
        ("[a](//evil.example)", "href"),
        ('[a](https://x "onclick=`y`\\" onmouseover=z")', ' onmouseover="'),
    ],
)
def test_markup_and_links_that_could_do_something_are_only_words(text: str, never: str) -> None:
    assert never not in to_html(text)


def test_headings_stand_below_the_page_s_own() -> None:
    assert to_html("# a\n\n## b\n\n### c\n\n###### d") == "<h4>a</h4>\n<h4>b</h4>\n<h5>c</h5>\n<h6>d</h6>\n"


def test_the_page_s_document_names_every_button_and_shows_small_pictures_that_exist() -> None:
    document = (ROOT / "docs/dev-page.md").read_text(encoding="utf-8")
    strings = (ROOT / "devstack/page/static/strings.js").read_text(encoding="utf-8").split("const ZH")[0]
    buttons = (ROOT / "devstack/page/static/faults.js").read_text(encoding="utf-8")
    for name in re.findall(r'"(\w+)"', buttons.split("const BUTTONS = [")[1].split("]")[0]):
        label = re.search(rf'"break\.{name}": "(.*?)"', strings)
        assert label, name
        assert f"*{label[1]}*" in document, label[1]
    names = ("docs/dev-page.md", "docs/operations.md", "README.md", "README.zh-CN.md")
    pages = [ROOT / name for name in names]
    shown = {
        path for page in pages for path in re.findall(r"images/[\w-]+\.png", page.read_text(encoding="utf-8"))
    }
    assert shown == {f"images/{scene.name}.png" for scene in SCENES}
    for path in shown:
        assert (ROOT / "docs" / path).stat().st_size < MAX_BYTES, path
