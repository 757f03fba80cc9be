"""Files in forms: what is read, what is refused, and that a file and its text are the same request."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from shared.state import keys
from tests.integration.http.kit import World, user_token

RESUME = "Ann Lee\nEngineer, 7 years of Python\n"
CHINESE = "林美\n高级工程师，八年支付系统经验\n"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40


def send(
    world: World, action: str, files: dict[str, Any], *, key: str | None = None, **fields: str
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {user_token('ada')}"} | ({"Idempotency-Key": key} if key else {})
    return world.http.post(f"{world.actions_url}/actions/{action}", files=files, data=fields, headers=headers)


def input_of(world: World, answer: httpx.Response) -> dict[str, Any]:
    """What the task will work on."""
    assert answer.status_code == 202, answer.text
    stored: dict[str, Any] = json.loads(
        world.store.command("HGET", keys.task(answer.json()["taskId"]), "input")
    )
    return stored


@pytest.mark.parametrize(
    "data",
    [CHINESE.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "gb18030")],
    ids=["utf-8", "utf-8-sig", "utf-16", "gb18030"],
)
def test_a_text_file_is_read_in_any_usual_encoding_and_whatever_its_name(world: World, data: bytes) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.bin", data, "application/octet-stream")})
    assert input_of(world, answer)["text"] == CHINESE.strip()


def test_a_file_and_its_text_are_the_same_request_under_a_key(world: World) -> None:
    first = send(world, "upload-resume", {"file": ("cv.md", RESUME.encode())}, key="k", locale="en").json()
    again = world.ask("upload-resume", {"text": RESUME, "locale": "en"}, key="k").json()
    assert again["taskId"] == first["taskId"]
    assert again["replay"] is True


@pytest.mark.parametrize(
    ("action", "files", "status", "error", "named"),
    [
        ("upload-resume", {"file": ("cv.txt", b"%PDF-1.7\nplain")}, 415, "unsupported_file_type", "PDF"),
        ("upload-resume", {"file": ("cv.txt", b"PK\x03\x04rest")}, 415, "unsupported_file_type", "Word"),
        ("upload-resume", {"file": ("cv.txt", b"MZ\x00\x01")}, 415, "unsupported_file_type", "file"),
        ("upload-resume", {"file": ("cv.txt", b" \n")}, 400, "invalid_request", "file"),
        ("upload-resume", {"file": ("cv.txt", b"a" * 5_001)}, 422, "text_too_long", "5000"),
        ("upload-resume", {"cv": ("cv.txt", b"text")}, 400, "invalid_request", "cv"),
        ("upload-resume", {"file": ("cv.txt", b"a" * (5 * 1024 * 1024 + 1))}, 413, "file_too_large", "file"),
        (
            "create-service",
            {"image": ("a.png", b"GIF89a" + b"\x00" * 20)},
            415,
            "unsupported_file_type",
            "image",
        ),
        ("customize-resume", {"file": ("cv.txt", b"text")}, 400, "invalid_request", "file"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_and_named(
    world: World, action: str, files: dict[str, Any], status: int, error: str, named: str
) -> None:
    answer = send(world, action, files)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert named in answer.json()["message"]


def test_a_text_and_a_file_at_once_are_refused(world: World) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.txt", RESUME.encode())}, text="another")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_picture_in_a_form_takes_the_image_branch(world: World) -> None:
    world.with_resume()
    answer = send(world, "create-service", {"image": ("photo.jpg", PNG)})
    assert answer.status_code == 202, answer.text
    assert answer.json()["queueId"] == "paid_vision"
    assert input_of(world, answer)["imageType"] == "image/png"


@pytest.mark.parametrize("boundary", ["", "; boundary=x"])
def test_a_form_that_cannot_be_read_is_refused(world: World, boundary: str) -> None:
    headers = {
        "Authorization": f"Bearer {user_token('ada')}",
        "Content-Type": f"multipart/form-data{boundary}",
    }
    answer = world.http.post(
        f"{world.actions_url}/actions/upload-resume", content=b"not a form", headers=headers
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
