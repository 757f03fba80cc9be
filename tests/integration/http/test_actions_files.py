"""Files in forms: what is read, what is refused, and that a file and its text are the same request."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from shared.state import keys
from tests.documents_kit import (
    BOMBS,
    CHINESE,
    ENGLISH,
    MARK,
    advertisement,
    docx_of,
    pdf_of,
    photo,
    scanned_pdf,
)
from tests.integration.http.kit import World, user_token

RESUME = "Ann Lee\nEngineer, 7 years of Python\n"
CHINESE_TEXT = "林美\n高级工程师，八年支付系统经验\n"


def send(
    world: World,
    action: str,
    files: dict[str, Any],
    *,
    key: str | None = None,
    user: str = "ada",
    **fields: str,
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {user_token(user)}"} | ({"Idempotency-Key": key} if key else {})
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
    [CHINESE_TEXT.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "gb18030")],
    ids=["utf-8", "utf-8-sig", "utf-16", "gb18030"],
)
def test_a_text_file_is_read_in_any_usual_encoding_and_whatever_its_name(world: World, data: bytes) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.bin", data, "application/octet-stream")})
    assert input_of(world, answer)["text"] == CHINESE_TEXT.strip()


def test_a_file_and_its_text_are_the_same_request_under_a_key(world: World) -> None:
    first = send(world, "upload-resume", {"file": ("cv.md", RESUME.encode())}, key="k", locale="en").json()
    again = world.ask("upload-resume", {"text": RESUME, "locale": "en"}, key="k").json()
    assert again["taskId"] == first["taskId"]
    assert again["replay"] is True


@pytest.mark.parametrize(
    ("action", "files", "status", "error", "named"),
    [
        ("upload-resume", {"file": ("cv.txt", b"%PDF-1.7\nplain")}, 422, "unreadable_file", "cut off"),
        ("upload-resume", {"file": ("cv.txt", b"PK\x03\x04rest")}, 422, "unreadable_file", "cut off"),
        ("upload-resume", {"file": ("cv.doc", b"{\\rtf1 text}")}, 415, "unsupported_file_type", "DOCX"),
        (
            "upload-resume",
            {"file": ("cv.doc", b"<html>text</html>")},
            415,
            "unsupported_file_type",
            "web page",
        ),
        (
            "upload-resume",
            {"file": ("cv.pdf", advertisement("PNG"))},
            415,
            "unsupported_file_type",
            "picture",
        ),
        (
            "create-service",
            {"image": ("a.jpg", advertisement("JPEG")[:9_000])},
            422,
            "unreadable_file",
            "image",
        ),
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
    world.with_resume()
    answer = send(world, action, files)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert named in answer.json()["message"]


def test_a_text_and_a_file_at_once_are_refused(world: World) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.txt", RESUME.encode())}, text="another")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (pdf_of(ENGLISH, pages=2), "\n\n".join(ENGLISH * 2)),
        (pdf_of(CHINESE), "\n\n".join(CHINESE)),
        (docx_of(CHINESE), "\n".join(CHINESE)),
    ],
    ids=["English PDF of two pages", "Chinese PDF", "Chinese DOCX"],
)
def test_a_document_s_text_is_what_the_task_works_on(world: World, data: bytes, text: str) -> None:
    answer = send(world, "upload-detailed-resume", {"file": ("cv.txt", data, "text/plain")})
    assert input_of(world, answer)["text"] == text


def test_a_scan_is_refused_with_what_to_do(world: World) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.pdf", scanned_pdf())})
    assert (answer.status_code, answer.json()["error"]) == (422, "unreadable_file")
    assert "no text layer" in answer.json()["message"]
    assert "Export it" in answer.json()["message"]


def test_a_file_is_refused_and_charges_nothing(world: World) -> None:
    """D22: a request that cannot succeed uses up nothing."""
    before = world.balance()
    assert send(world, "upload-resume", {"file": ("cv.pdf", pdf_of(ENGLISH)[:2_000])}).status_code == 422
    assert world.balance() == before
    assert world.qstash.published == []


def test_a_document_with_more_text_than_the_limit_says_both_numbers(world: World) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.docx", docx_of(["word " * 1_200]))})
    assert (answer.status_code, answer.json()["error"]) == (422, "text_too_long")
    assert "5999" in answer.json()["message"]
    assert "5000" in answer.json()["message"]


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_means_harm_is_refused_in_time_and_the_function_goes_on(world: World, name: str) -> None:
    answer = send(world, "upload-resume", {"file": ("cv.pdf", BOMBS[name]())})
    assert (answer.status_code, answer.json()["error"]) in {
        *((422, "unreadable_file"), (422, "text_too_long")),
        (503, "store_unavailable"),  # where the machine is so busy that the reader got no processor
    }
    assert world.get("/healthz").json() == {"ok": True}
    assert send(world, "upload-resume", {"file": ("cv.pdf", pdf_of(ENGLISH))}).status_code == 202


def test_many_at_once_are_read_or_asked_to_come_back(world: World) -> None:
    def upload(number: int) -> httpx.Response:
        user = f"user-{number}"
        return send(world, "upload-resume", {"file": ("cv.pdf", pdf_of(ENGLISH))}, user=user)

    send(world, "upload-resume", {"file": ("cv.pdf", pdf_of(ENGLISH))}, user="first")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(upload, range(12)))
    assert {answer.status_code for answer in answers} <= {202, 503}
    assert 202 in {answer.status_code for answer in answers}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)


def test_a_picture_in_a_form_takes_the_image_branch(world: World) -> None:
    world.with_resume()
    answer = send(world, "create-service", {"image": ("photo.jpg", advertisement("PNG"))})
    assert answer.status_code == 202, answer.text
    assert answer.json()["queueId"] == "paid_vision"
    assert input_of(world, answer)["imageType"] == "image/jpeg"


def test_a_photo_is_kept_upright_and_without_what_the_camera_wrote_into_it(world: World) -> None:
    world.with_resume()
    assert send(world, "create-service", {"image": ("a.jpg", photo(6))}).status_code == 202
    [stored] = [path.read_bytes() for path in world.blobs.rglob("*") if path.is_file()]
    assert MARK.encode() not in stored
    with Image.open(io.BytesIO(stored)) as kept:
        assert kept.size == (800, 1200)
        assert not kept.getexif()


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
