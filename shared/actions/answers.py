"""What callers get, as pydantic models: the document describes them, and the tests hold real answers to them.

Nothing imports this when a function runs. Every model forbids what it does not name, so that a field which
nobody documented is noticed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from shared.actions.contract import Absent, Documented, Id, Locale
from shared.routing import Action, Lane, Template

RESULT_MARK = "x-result"
"""Marks where the document has a template's result: `actions` never imports the models of the LLM."""

TimeMs = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Score = Annotated[int, Field(ge=0, le=100)]
NewestTasks = dict[Action, Id]


def _result(*templates: Template) -> WithJsonSchema:
    return WithJsonSchema({RESULT_MARK: list(templates)})


class Answer(Documented):
    ok: Literal[True]


class Healthy(Answer):
    """The function is up."""


class Accepted(Answer):
    """A task is under way: what it is called, where its events stream and where its state is read."""

    task_id: Id
    """What the task is called from now on."""
    service_id: str
    """The service that the task belongs to; `resume` for an upload, which belongs to the user."""
    queue_id: Lane
    """The queue of the first step."""
    is_free: bool
    """True when the balance was too low: the task takes the free lane and costs nothing."""
    stream: bool
    """True when text will stream at some step; a structured task's stream has only its events."""
    stream_url: str
    """The absolute address of the task's event stream (SSE), with a token for this one channel."""
    status_url: str
    """The absolute address of `GET /tasks/{taskId}`."""
    replay: bool
    """True when the task was there before: the same `Idempotency-Key`, or the same step under way."""


class Match(Documented):
    """What a match makes: a report in Markdown, as it streamed."""

    text: str
    """The whole text; its first line is `score: NN`."""
    score: Score | None
    """How well the candidate fits: from 85 strong, from 60 medium, below challenging. Null: none given."""


class InterviewTips(Documented):
    """What interview tips are: a script in Markdown, as it streamed."""

    text: str
    """The whole text."""


class TaskError(Documented):
    """Why a task failed; nothing was charged for it."""

    code: Annotated[str, Field(pattern="^[a-z_]+$")]
    """A stable name: `invalid_output`, `provider_timeout`, `wait_timeout`, …"""
    message: str
    """A sentence for people."""


class TaskStatus(Answer):
    """A task as it stands now."""

    task_id: Id
    """The task that was asked for."""
    service_id: str
    """The service that it belongs to; `resume` for an upload."""
    action: Action
    """What was asked for."""
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    """`done`, `failed` and `cancelled` are ends; a task has exactly one."""
    step: Count
    """The step it is at, from 0: a picture's advertisement is read in step 0 and matched in step 1."""
    attempt: Count
    """The attempt of this step, from 1; 0 before the first."""
    queue_id: Lane
    """The queue of this step."""
    position: Count | None
    """Tasks ahead of it in the queue; null unless it is queued."""
    eta_seconds: Count | None
    """How long until it is through, at the queue's measured rate; null when that is not known."""
    is_free: bool
    """True when it takes the free lane, and cost nothing."""
    result: Annotated[
        dict[str, Any] | Absent,
        _result(
            Template.RESUME_SUMMARY,
            Template.DETAILED_RESUME_SUMMARY,
            Template.JOB_MATCH,
            Template.RESUME_CUSTOMIZE,
            Template.INTERVIEW_PREP,
        ),
    ] = None
    """What the task made; only there when it is `done`. Its shape follows from `action`."""
    error: TaskError | Absent = None
    """Only there when it has `failed`."""
    refunded: bool
    """True when coins were given back: for whatever was paid and did not end `done`."""
    stream_url: str
    """A fresh address of the event stream, with a new token."""
    created_at: TimeMs
    """Milliseconds since 1970, as all times here."""
    finished_at: TimeMs | None
    """Null while the task is open."""


class Cancelled(Answer):
    """The state after the call."""

    task_id: Id
    """The task that was asked for."""
    state: Literal["done", "failed", "cancelled"]
    """`cancelled`, or the end that it had come to before."""


class LedgerLine(Documented):
    """One change of the balance."""

    at: TimeMs
    """When it happened."""
    kind: Literal["grant", "debit", "refund"]
    """`grant`: given, at first or by support; `debit`: paid; `refund`: given back."""
    delta: int
    """Coins: above 0 given, below 0 taken. All deltas add up to the balance."""
    balance: int
    """The balance after this line."""
    task_id: Id | Absent = None
    """The task that was paid for or refunded."""
    action: Action | Absent = None
    """The action of that task."""
    reference: str | Absent = None
    """What a grant was for, as support noted it."""


class Quota(Answer):
    """A user's coins."""

    balance: int
    """Coins that can be spent now."""
    ledger: list[LedgerLine]
    """Every grant, debit and refund, oldest first; empty for a user who never had a task."""


class Resume(Answer):
    """What is kept of a user's résumés; a new upload replaces it only when its summary is done."""

    summary: Annotated[dict[str, Any], _result(Template.RESUME_SUMMARY)] | None
    """The summary of the résumé."""
    text: str | None
    """The text that `summary` was made from."""
    summary_at: TimeMs | None
    """When the upload that it came from was accepted."""
    detailed: Annotated[dict[str, Any], _result(Template.DETAILED_RESUME_SUMMARY)] | None
    """The summary of the detailed career history."""
    detailed_text: str | None
    """The text that `detailed` was made from."""
    detailed_at: TimeMs | None
    """When the upload that it came from was accepted."""
    tasks: NewestTasks
    """The newest task of each upload, for a page that is opened again while it runs."""


class ServiceLine(Documented):
    """A service without its texts."""

    service_id: Id
    """What the service is called."""
    created_at: TimeMs
    """When it was created."""
    title: str | Absent = None
    """The advertised position, once it is known."""
    company: str | Absent = None
    """The employer, once it is known."""
    score: Score | None = None
    """The match's score; null when the model gave none, absent before the match is done."""
    match_at: TimeMs | Absent = None
    """When the task that made the match was accepted; absent before it is done."""
    customized_at: TimeMs | Absent = None
    """The same of the tailored résumé."""
    interview_at: TimeMs | Absent = None
    """The same of the interview tips."""


class Services(Answer):
    """A user's services, newest first, one hundred at most."""

    services: list[ServiceLine]
    """One line for each service."""


class Service(Answer, ServiceLine):
    """All that is kept of a service. What is not there yet is absent."""

    locale: Locale
    """The language of its texts."""
    job_text: str | Absent = None
    """The advertisement as it was sent; absent when a picture was."""
    job: Annotated[dict[str, Any] | Absent, _result(Template.JOB_VISION_SUMMARY)] = None
    """The advertisement as it was read from the picture."""
    job_at: TimeMs | Absent = None
    """When the task that read the picture was accepted."""
    match: Match | Absent = None
    """The match, once it is done."""
    customized: Annotated[dict[str, Any] | Absent, _result(Template.RESUME_CUSTOMIZE)] = None
    """The tailored résumé, once it is done."""
    interview: InterviewTips | Absent = None
    """The interview tips, once they are done."""
    tasks: NewestTasks
    """The newest task of each action, for a page that is opened again while it runs."""


class Removed(Documented):
    """How many things are gone."""

    resumes: Count
    """Résumé and career history: 0 to 2."""
    services: Count
    """Services with all their texts."""
    tasks: Count
    """Tasks that were still kept, open or ended."""
    cancelled: Count
    """Tasks that were still open: cancelled and refunded first."""
    images: Count
    """Pictures that waited to be read."""


class Deleted(Answer):
    """Everything of this user has been removed."""

    removed: Removed
    """What is gone."""
    balance: int
    """What stays: the balance, under a hash, so that deleting oneself makes no coins."""


class Refusal(Documented):
    """Every answer that is no success: `error` is for programs, `message` for people."""

    ok: Literal[False]
    error: str
    """The code; which ones a status can have stands with each call."""
    message: str
    """A sentence that may be shown; it never quotes what was sent."""
    retry_after: Count | Absent = None
    """Seconds to wait before trying again; equal to the `Retry-After` header, and there whenever that is."""
    queue_id: Lane | Absent = None
    """With `queue_full`: the queue that is full."""
