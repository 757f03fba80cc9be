"""What is kept of each thing that was measured: which rows a run, a rest, a break-down and a kill fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.bridge.usage import resident_kib
from bench.pipelines import figures as f
from bench.pipelines.breakdown import STRETCHES, Write, added, is_added, middle_means, stretches_ms
from bench.pipelines.figures import Collection
from bench.pipelines.kills import ANSWERS, PATIENCE_SECONDS, Loss
from bench.pipelines.load import Run
from bench.pipelines.subjects import NODE_PEER, Subject

_CPU = "worker CPU per 1,000 tokens"
_COMMANDS = "Redis commands per answer"
_ANEW = ", and the answer begins anew: a reader that still listens gets its beginning twice."
_AFTER_KILLS = {
    "celery": "By default a task is acknowledged before it runs: nobody runs it again.",
    "dramatiq": f"Its messages are queued again once the worker has been silent for 60 s{_ANEW}",
    "taskiq": f"Its message is claimed by another worker after 10 minutes{_ANEW}",
    NODE_PEER: "What was said lived in the killed process. Its job is run again once it counts as stalled, "
    "after 30 s or more, and a reader that waits hears nothing of it.",
}
"""By the defaults of the locked versions; what comes after our patience is not measured."""


def keep_alone(collection: Collection, name: str, made: Run) -> None:
    collection.add(f.ALONE, f.FIRST_P50, "ms", name, made.first_ms(0.5))
    collection.add(f.ALONE, f.FIRST_P99, "ms", name, made.first_ms(0.99))


def keep_paced(collection: Collection, name: str, made: Run, *, whole: bool) -> None:
    """Keep a run at a model's pace; what it cost only of answers of the whole length."""
    collection.add(f.PACED, f.FIRST_P50, "ms", name, made.first_ms(0.5))
    collection.add(f.PACED, f.FIRST_P99, "ms", name, made.first_ms(0.99))
    collection.add(f.PACED, f.TOKEN_P50, "ms", name, made.token_ms(0.5))
    collection.add(f.PACED, f.TOKEN_P99, "ms", name, made.token_ms(0.99))
    collection.add(f.PACED, f.ARRIVED, "%", name, made.arrived_percent)
    if whole:
        count = made.commands_per_answer
        collection.add(f.PACED, _COMMANDS, "commands", name, count)
        collection.add(f.PACED, _CPU, "ms", name, made.worker_cpu_ms_per_1000_tokens)


def keep_full_speed(collection: Collection, name: str, made: Run, *, has_redis: bool) -> None:
    collection.add(f.FULL_SPEED, f.SPEED, "answers/s", name, made.answers_per_second)
    collection.add(f.FULL_SPEED, f.ARRIVED, "%", name, made.arrived_percent)
    collection.add(f.FULL_SPEED, _CPU, "ms", name, made.worker_cpu_ms_per_1000_tokens)
    if has_redis:
        collection.add(f.FULL_SPEED, _COMMANDS, "commands", name, made.commands_per_answer)


def keep_memory(collection: Collection, subject: Subject) -> None:
    mib = resident_kib(subject.worker_pid) / 1024
    collection.add(f.AT_REST, "memory of the worker, after its first tasks", "MiB", subject.name, mib)


def keep_breakdown(
    collection: Collection, made: Run, writes: Sequence[Write], journal: Sequence[Mapping[str, object]]
) -> None:
    """Keep how long each stretch took."""
    each = [
        stretches_ms(task_id, reading, writes, journal)
        for task_id, reading in zip(made.task_ids, made.readings, strict=True)
    ]
    means = middle_means(each)
    for name, value in zip(STRETCHES, means, strict=True):
        if is_added(name):
            collection.add(f.BREAKDOWN, f.STRETCH, "ms", name, value)
    collection.add(f.BREAKDOWN, f.STRETCH, "ms", f.ALL_OF_IT, added(means))


def keep_loss(collection: Collection, name: str, loss: Loss) -> None:
    said = f"{loss.whole} of {ANSWERS} readers had the whole text once"
    said += f", the last after {loss.seconds:.0f} s" if loss.seconds is not None else ""
    said += (
        f"; {loss.waiting} were not told of any end in {PATIENCE_SECONDS:.0f} s. {_AFTER_KILLS.get(name, '')}"
    )
    collection.add(f.KILLED, f.LOST, "%", name, loss.lost_percent, said)
    collection.add(f.KILLED, f.DOUBLED, "%", name, loss.doubled_percent)
    collection.add(f.KILLED, "readers left waiting", f"of {ANSWERS}", name, loss.waiting)
