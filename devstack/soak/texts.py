"""Invariants of texts: what was stored, and what each reader saw, is what the model said in one call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from devstack.llm.transcript import Call, stamps
from devstack.soak.evidence import Events, Evidence
from devstack.soak.finding import Finding, Problem


def check_texts(evidence: Evidence) -> Iterator[Finding]:
    """Yield what there is to say of the streamed texts."""
    texts = {task_id: text for task_id, record in evidence.records.items() if (text := _text(record))}
    told = f"{len(texts)} texts, {sum(map(len, texts.values()))} characters, {len(evidence.calls)} calls"
    yield Finding.of("a text is what the model said in one call", told, _said(evidence, texts))
    readers = sum(len(task.readers) for task in evidence.taken if task.task_id in texts)
    told = f"{readers} readers of them"
    yield Finding.of("every reader saw that text", told, _shown(evidence, texts))


def _text(record: Mapping[str, str]) -> str | None:
    text = json.loads(record.get("result") or "{}").get("text") if record["state"] == "done" else None
    return text if isinstance(text, str) else None


def _said(evidence: Evidence, texts: Mapping[str, str]) -> Iterator[Problem]:
    calls = {call.number: call for call in evidence.calls}
    labels = {task.task_id: task.label for task in evidence.taken}
    used: dict[int, str] = {}
    for task_id, text in texts.items():
        numbers = stamps(text)
        if len(numbers) != 1:
            yield Problem(f"put together from the calls {sorted(numbers)}", task_id)
            continue
        (number,) = numbers
        if number in used:
            yield Problem(f"call {number} is the text of task {used[number]} too", task_id)
        used[number] = task_id
        yield from _of_call(task_id, text, calls.get(number), labels.get(task_id))


def _of_call(task_id: str, text: str, call: Call | None, label: str | None) -> Iterator[Problem]:
    if call is None:
        yield Problem("no call of the transcript", task_id)
    elif not call.finished:
        yield Problem(f"call {call.number} was not finished", task_id)
    elif call.said != text:
        yield Problem(f"{len(text)} characters, call {call.number} said {len(call.said)}", task_id)
    elif label is not None and label not in call.labels:
        yield Problem(f"call {call.number} was about {sorted(call.labels)}, not {label}", task_id)


def _shown(evidence: Evidence, texts: Mapping[str, str]) -> Iterator[Problem]:
    for task in evidence.taken:
        for reader in task.readers:
            shown, gap = fold(reader.frames)
            if gap:
                yield Problem(gap, task.task_id)
            elif task.task_id in texts and not task.erased and shown != texts[task.task_id]:
                told = f"a reader has {len(shown)} characters of {len(texts[task.task_id])}"
                yield Problem(told, task.task_id)


def fold(frames: Events) -> tuple[str, str | None]:
    """Return the text that a page shows after these events, and what was wrong on the way, if anything."""
    text = ""
    for _, event in frames:
        match event["type"]:
            case "start":
                text = ""
            case "resync":
                text = event["text"]
            case "token_batch" if event["offset"] != len(text):
                return text, f"a reader got text at {event['offset']} after {len(text)} characters"
            case "token_batch":
                text += event["text"]
    return text, None
