"""One performance of the demo on a stack that runs: the story, the proof, and what to report of both."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping

import httpx

from devstack.demo.board import Board, Mood, Sampler
from devstack.demo.client import Client, Refusal
from devstack.demo.meter import CommandMeter, read_tokens
from devstack.demo.proof import Check, Proof
from devstack.demo.report import Report, build_report
from devstack.demo.screen import Screen
from devstack.demo.story import FRONTED, SETTINGS, Story, StoryStopped
from devstack.demo.words import Words
from devstack.stack import Stack
from shared.routing import Provider

STAND_IN_TASK_SECONDS, REAL_TASK_SECONDS = 60.0, 300.0


def demo_stack(**changes: object) -> Stack:
    """Return a stack with the demo's settings, and its user's own keys; `changes` are Stack's arguments."""
    return Stack(
        overrides=SETTINGS,
        fronted=FRONTED,
        provider_environment=os.environ,
        **changes,  # type: ignore[arg-type]  # Stack says what each of them is
    )


def perform(stack: Stack, words: Words, screen_of: Callable[[Board], Screen]) -> Report:
    """Play the story on a screen, prove it, and return the report.

    Args:
        stack: it runs, with the demo's settings.
        words: the language.
        screen_of: makes the screen for a board.
    """
    user_id = f"demo-{uuid.uuid4().hex[:8]}"
    board, meter = Board(), CommandMeter(stack.redis_url)
    with Client(stack.url("actions"), stack.user_token(user_id)) as client:
        story = Story(stack, client, board, screen_of(board), words, _task_seconds(os.environ))
        with meter, Sampler(stack, board), story.screen:
            checks = [_played(story)]
            seconds = board.seconds(time.monotonic())
            board.begin(words("chapter.proof"))
            story.screen.told(board.tell(Mood.CHAPTER, board.title))
            checks += Proof(stack, client, story, words, user_id).checks()
    with contextlib.closing(stack.open_store()) as store:
        for task in board.tasks:
            task.tokens = read_tokens(store, task.task_id)
    return build_report(board, meter, checks, words, models=_models(words, os.environ), seconds=seconds)


def _played(story: Story) -> Check:
    """Play the story; when it breaks off, that is the first finding, and the proof is made all the same."""
    claim, look = story.words("claim.story"), story.words("look.tasks")
    try:
        story.play()
    except (StoryStopped, Refusal, httpx.HTTPError) as error:
        return Check(claim, held=False, found=str(error), look=look)
    return Check(claim, held=True, found=story.words("found.tasks", count=len(story.board.tasks)), look=look)


def _real(environment: Mapping[str, str]) -> list[Provider]:
    return [provider for provider in Provider if environment.get(f"{provider.upper()}_API_KEY")]


def _task_seconds(environment: Mapping[str, str]) -> float:
    return REAL_TASK_SECONDS if _real(environment) else STAND_IN_TASK_SECONDS


def _models(words: Words, environment: Mapping[str, str]) -> str:
    real = _real(environment)
    if not real:
        return words("report.stand_in")
    return words(
        "report.real" if len(real) == len(Provider) else "report.real_partly", models=", ".join(real)
    )
