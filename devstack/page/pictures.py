"""`python -m devstack.page.pictures`: the dev page and the operators' page, as pictures for the docs.

Each scene is played on a stack of its own by a real browser; what is on a picture has happened. The fonts are
this machine's: Inter, JetBrains Mono and Noto Sans CJK SC make the nicest ones.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page
from rich.console import Console

from devstack.listening import listen
from devstack.page import ops_scenes
from devstack.page.browser import chromium
from devstack.page.server import PageServer
from devstack.stack import Stack

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MAX_BYTES = 300_000
COLOURS = 255
WIDE = (1600, 1000)
PHONE = (390, 844)
LONG_MS = 90_000
SETTINGS = {"LEASE_SECONDS": "4", "USER_MAX_ACTIVE": "12"}


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: who looks at it how, and what is done before it is taken."""

    name: str
    play: Callable[[Page], None] = lambda _page: None
    size: tuple[int, int] = WIDE
    theme: Literal["light", "dark"] = "light"
    language: Literal["en", "zh"] = "en"

    @property
    def scale(self) -> int:
        """Return pixels a point: a phone's screen is fine, a wide picture is large enough."""
        return 2 if self.size == PHONE else 1

    def perform(self, page: Page, _stack: Stack, server: PageServer) -> None:
        page.goto(f"{server.url}?lang={self.language}")
        page.wait_for_selector(":root[lang*='-'] body[data-ready]")
        self.play(page)


def _have_resume(page: Page) -> None:
    """Summarise the sample résumé, and take its card away."""
    page.click("#grant")
    _show(page, "tasks")
    page.click("[data-tour=resume]")
    page.wait_for_selector('.task[data-state="done"]', timeout=LONG_MS)


def _start(page: Page, action: str, sample: str, times: int = 1) -> None:
    _show(page, "start")
    page.check(f"input[value={action}]")
    page.click(f"[data-sample={sample}]")
    page.wait_for_selector("#file-chip:visible" if sample != "text" else "#text:visible")
    page.wait_for_timeout(250)
    page.select_option("#times", str(times))
    page.click("#send")


def _wait_for_words(page: Page, characters: int, card: str = ".task") -> None:
    page.wait_for_function(
        "([card, least]) => [...document.querySelectorAll(`${card} .body > .markdown`)]"
        ".some(({ textContent }) => textContent.length > least)",
        arg=[card, characters],
        timeout=LONG_MS,
    )


def _show(page: Page, pane: str) -> None:
    button = page.locator(f"[data-pane-button={pane}]")
    if button.is_visible():
        button.click()


def several_at_once(page: Page) -> None:
    _have_resume(page)
    _start(page, "upload-detailed-resume", "text", 3)
    page.wait_for_timeout(3000)
    _start(page, "create-service", "photo")
    page.wait_for_timeout(1000)
    _start(page, "create-service", "text")
    _wait_for_words(page, 800)


def recovering(page: Page) -> None:
    _have_resume(page)
    _start(page, "create-service", "text", 3)
    _wait_for_words(page, 200)
    page.click("[data-kill=paid_stream]")
    page.wait_for_selector('[data-fact="attempt"] dd:text-is("2")', timeout=LONG_MS)
    _wait_for_words(page, 700)
    page.click("[data-fault=refuse]")
    page.wait_for_timeout(300)
    _start(page, "create-service", "text")
    page.wait_for_selector('.task[data-state="retrying"] .wait:visible', timeout=LONG_MS)


def a_match(page: Page) -> None:
    _have_resume(page)
    _start(page, "create-service", "text")
    _wait_for_words(page, 620)


def a_photo(page: Page) -> None:
    _show(page, "start")
    page.check("input[value=create-service]")
    page.click("[data-sample=photo]")
    page.wait_for_selector("#file-picture:visible")
    page.wait_for_timeout(300)


def the_lanes(page: Page) -> None:
    _have_resume(page)
    _start(page, "create-service", "text", 6)
    page.wait_for_timeout(6000)
    _show(page, "lanes")
    page.wait_for_timeout(3000)


@dataclass(frozen=True, slots=True)
class OpsScene(Scene):
    """One picture of the operators' page."""

    operate: Callable[[Page, Stack], None] = ops_scenes.overview

    def perform(self, page: Page, stack: Stack, _server: PageServer) -> None:
        self.operate(page, stack)


SCENES: tuple[Scene, ...] = (
    Scene("page-wide", several_at_once),
    Scene("page-recovering", recovering, theme="dark"),
    Scene("page-chinese", several_at_once, language="zh"),
    Scene("page-phone-match", a_match, PHONE),
    Scene("page-phone-photo", a_photo, PHONE, language="zh"),
    Scene("page-phone-lanes", the_lanes, PHONE, theme="dark"),
    OpsScene("ops-overview", size=(1400, 940)),
    OpsScene("ops-dead-letter", size=(1100, 760), operate=ops_scenes.dead_letter),
    OpsScene("ops-replayed", size=(1100, 900), theme="dark", operate=ops_scenes.replayed),
    OpsScene("ops-phone", size=PHONE, theme="dark"),
)


def main(arguments: list[str] | None = None) -> int:
    """Take the pictures and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devstack.page.pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(s.name for s in SCENES)}")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    chosen = [scene for scene in SCENES if not options.scenes or scene.name in options.scenes]
    with chromium() as browser:
        for scene in chosen:
            picture = take(browser, scene)
            (options.folder / f"{scene.name}.png").write_bytes(picture)
            console.print(f"{scene.name}.png: {len(picture) // 1000} KB")
    return 0


def take(browser: Browser, scene: Scene) -> bytes:
    """Play a scene on a stack of its own and return its picture, a PNG."""
    with (
        listen(0) as listener,
        tempfile.TemporaryDirectory(prefix="sluice-pictures-") as folder,
        Stack(
            proxied=True,
            fronted=("events",),
            overrides=SETTINGS,
            allowed_origins=(f"http://127.0.0.1:{listener.getsockname()[1]}",),
            tokens_per_second=90,
            build_folder=Path(folder),
        ) as stack,
        PageServer(stack, listener=listener) as server,
    ):
        width, height = scene.size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scene.scale,
            color_scheme=scene.theme,
        )
        page = context.new_page()
        scene.perform(page, stack, server)
        picture = small(page.screenshot())
        context.close()
        return picture


def small(png: bytes) -> bytes:
    """Return the picture as it is, in few bytes; in fewer colours if it is too large for a README."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    whole = _encoded(image)
    return whole if len(whole) <= MAX_BYTES else _encoded(_in_few_colours(image))


def _in_few_colours(image: Image.Image) -> Image.Image:
    """Keep small coloured things, such as a lane's mark: a palette made for large areas turns them grey."""
    return image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)


def _encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
