"""Faults of the broker: what QStash, which promises "at least once", may do to messages and callbacks."""

from __future__ import annotations

from devstack.reliability.callbacks import doubled_callbacks, late_callbacks, out_of_order
from devstack.reliability.deliveries import after_the_end, duplicates, lost_answers
from devstack.reliability.publishes import half_known_publish, repeated_publish, unknown_publish
from devstack.reliability.rotation import rotation
from devstack.reliability.traffic import OVERRIDES
from devstack.reliability.trials import Section, Trial

SECTION = Section(
    name="broker",
    promise="Nothing runs twice, nothing is debited or refunded twice, no task is left without an outcome.",
    stack={
        "overrides": OVERRIDES | {"LEASE_SECONDS": "2", "WORKER_TIMEOUT_SECONDS": "20"},
        "qstash_time_scale": 0.05,
        "first_token_ms": 20,
        "tokens_per_second": 3_000,
    },
    trials=(
        Trial("each delivery twice, one after the other", duplicates("sequential")),
        Trial("each delivery twice at once", duplicates("concurrent")),
        Trial("each answer of a lane or a callback lost on its way to QStash", lost_answers),
        Trial(
            "every message and callback again, after its task was done, failed or cancelled", after_the_end
        ),
        Trial("each callback doubled, one after the other and at once", doubled_callbacks),
        Trial("callbacks late: in mid-run of the next attempt or step, and after a cancel", late_callbacks),
        Trial("callbacks out of order, and again in reverse after the end", out_of_order),
        Trial("signing keys rotated while messages wait, run, and callbacks are pending", rotation),
        Trial(
            "publish accepted and answered 500 twice: refused, and the message comes after all",
            unknown_publish,
        ),
        Trial("publish accepted and answered 500 or not at all, once", half_known_publish),
        Trial("publish accepted and unanswered, and the request repeated meanwhile", repeated_publish),
    ),
)
