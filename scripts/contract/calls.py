"""Every call of `actions` as the document has it: what it takes, what it answers, how it may refuse.

The callbacks are left out: QStash alone calls them, and what they take is QStash's contract.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.actions import answers
from shared.actions.contract import Body, CreateServiceBody, ServiceBody, UploadBody
from shared.actions.uploads import (
    MAX_DETAILED_RESUME_CHARS,
    MAX_FILE_BYTES,
    MAX_IMAGE_BYTES,
    MAX_JOB_CHARS,
    MAX_RESUME_CHARS,
)
from shared.errors import (
    AuthRequired,
    Draining,
    FileTooLarge,
    IdempotencyMismatch,
    InvalidRequest,
    MatchRequired,
    NotFound,
    PublishFailed,
    QueueFull,
    RateLimited,
    ResumeRequired,
    SluiceError,
    StoreUnavailable,
    TextTooLong,
    UnreadableFile,
    UnsupportedFileType,
    UserBusy,
)

Refusals = tuple[type[SluiceError], ...]

DOCUMENT_TYPES = (
    "text/plain, text/markdown, application/pdf, "
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
)
IMAGE_TYPES = "image/png, image/jpeg, image/webp"

_MIB = 1024 * 1024
_ANY: Refusals = (AuthRequired, RateLimited, StoreUnavailable)
_ACTION: Refusals = (
    *_ANY,
    InvalidRequest,
    FileTooLarge,
    IdempotencyMismatch,
    NotFound,
    QueueFull,
    UserBusy,
    Draining,
    PublishFailed,
)
_FILES: Refusals = (UnsupportedFileType, UnreadableFile, TextTooLong)


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body: one file, and the language."""

    field: str
    content_types: str
    description: str


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call. `text_limit` is of the body's one text, in characters."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    answer: type[answers.Answer] | None
    refusals: Refusals = _ANY
    status: int = 200
    body: type[Body] | None = None
    text_limit: tuple[str, int] | None = None
    form: Form | None = None
    polled: bool = False
    """True when the answer has an ETag, and 304 says that nothing has changed."""
    public: bool = False

    @property
    def body_name(self) -> str:
        """The name of the body's schema: a limit of its own makes it one of its own."""
        if self.body is None:
            return ""
        return (
            self.body.__name__
            if self.body is not UploadBody
            else f"{self.name[0].upper()}{self.name[1:]}Body"
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the headers and path fields it takes (see composing.py)."""
        in_path = tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))
        headers = ("Idempotency-Key", "Accept-Language", "traceparent") if self.body else ()
        return (*in_path, *headers, *(("If-None-Match",) if self.polled else ()))


_ONCE = """Only one such task runs for a service at a time: asked for again meanwhile, the answer is the
task under way, with `replay: true`, and nothing is charged."""
_DOCUMENT = Form(
    "file",
    DOCUMENT_TYPES,
    f"PDF (with a text layer), DOCX, TXT or Markdown, by its content; {MAX_FILE_BYTES // _MIB} MiB at most.",
)

CALLS: tuple[ApiCall, ...] = (
    ApiCall(
        "post",
        "/actions/upload-resume",
        "uploadResume",
        "actions",
        "Summarise a résumé",
        f"""Costs 1 coin. Takes the résumé as text or as a file, {MAX_RESUME_CHARS:,} characters at most.
The result is a `ResumeSummary`; the résumé that was there before stays valid until it is done.""",
        answers.Accepted,
        (*_ACTION, *_FILES),
        202,
        UploadBody,
        ("text", MAX_RESUME_CHARS),
        _DOCUMENT,
    ),
    ApiCall(
        "post",
        "/actions/upload-detailed-resume",
        "uploadDetailedResume",
        "actions",
        "Summarise a detailed career history",
        f"""Costs 1 coin. Takes the history as text or as a file, {MAX_DETAILED_RESUME_CHARS:,} characters
at most. The result is a `DetailedResumeSummary`; later matches, résumés and tips quote from it.""",
        answers.Accepted,
        (*_ACTION, *_FILES),
        202,
        UploadBody,
        ("text", MAX_DETAILED_RESUME_CHARS),
        _DOCUMENT,
    ),
    ApiCall(
        "post",
        "/actions/create-service",
        "createService",
        "actions",
        "Match a job advertisement",
        f"""Costs 2 coins. Takes the advertisement as text ({MAX_JOB_CHARS:,} characters at most), as a data
URL, or as a picture in a form. A picture is read first (step 0) and matched then (step 1), on
the same stream. The text of the match streams; the result is a `Match`. A résumé must have been
summarised.""",
        answers.Accepted,
        (*_ACTION, *_FILES, ResumeRequired),
        202,
        CreateServiceBody,
        ("jobText", MAX_JOB_CHARS),
        Form(
            "image",
            IMAGE_TYPES,
            f"A picture of the advertisement: PNG, JPEG or WebP, decided by its content; "
            f"{MAX_IMAGE_BYTES // _MIB} MiB at most.",
        ),
    ),
    ApiCall(
        "post",
        "/actions/customize-resume",
        "customizeResume",
        "actions",
        "Tailor the résumé to a service's job",
        f"Costs 2 coins. The result is a `ResumeCustomize`. The service's match must be done. {_ONCE}",
        answers.Accepted,
        (*_ACTION, MatchRequired),
        202,
        ServiceBody,
    ),
    ApiCall(
        "post",
        "/actions/interview-tips",
        "interviewTips",
        "actions",
        "Prepare for a service's interview",
        f"""Costs 2 coins. The text streams; the result are `InterviewTips`. The service's match must be
done. {_ONCE}""",
        answers.Accepted,
        (*_ACTION, MatchRequired),
        202,
        ServiceBody,
    ),
    ApiCall(
        "get",
        "/tasks/{taskId}",
        "getTask",
        "tasks",
        "Read a task's state",
        """For polling, and for a fresh `streamUrl`. Send the last `ETag` as `If-None-Match`: 304 says that
nothing has changed. A task is kept for a week after its last step; what it made stays with the
résumé or the service.""",
        answers.TaskStatus,
        (*_ANY, NotFound),
        polled=True,
    ),
    ApiCall(
        "post",
        "/tasks/{taskId}/cancel",
        "cancelTask",
        "tasks",
        "Cancel a task",
        """The stop button: the task ends `cancelled`, what was paid is given back, its stream ends. A task
that has ended keeps its state, which is the answer; calling again changes nothing.""",
        answers.Cancelled,
        (*_ANY, NotFound),
    ),
    ApiCall(
        "get",
        "/resume",
        "getResume",
        "stored",
        "Read the stored résumés",
        "Null is what was never uploaded, or is not summarised yet.",
        answers.Resume,
    ),
    ApiCall(
        "get",
        "/services",
        "listServices",
        "stored",
        "List the services",
        "Newest first, without their texts.",
        answers.Services,
    ),
    ApiCall(
        "get",
        "/services/{serviceId}",
        "getService",
        "stored",
        "Read all that is kept of a service",
        "The advertisement, the match, the tailored résumé and the interview tips, as far as they are done.",
        answers.Service,
        (*_ANY, NotFound),
    ),
    ApiCall(
        "get",
        "/quota",
        "getQuota",
        "stored",
        "Read the balance and its history",
        "The deltas add up to the balance. A user never seen has the initial balance and no history.",
        answers.Quota,
    ),
    ApiCall(
        "delete",
        "/me",
        "deleteMe",
        "stored",
        "Remove everything of this user",
        """Open tasks are cancelled and refunded first; then résumés, services, tasks, their events and
pictures go. Cannot be undone. When it fails half-way, call again: it goes on where it was.""",
        answers.Deleted,
        (*_ANY, UserBusy),
    ),
    ApiCall(
        "get",
        "/healthz",
        "getHealth",
        "service",
        "Tell whether the function is up",
        "Asks nothing of the store.",
        answers.Healthy,
        (),
        public=True,
    ),
    ApiCall(
        "get",
        "/openapi.json",
        "getContract",
        "service",
        "Read this document",
        "May be kept for a few minutes; has an `ETag`.",
        None,
        (),
        polled=True,
        public=True,
    ),
)
