"""Tasks that are admitted and delivered as QStash would, without `actions` and without a broker."""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass

import httpx

from devstack.qstash.signing import DEV_KEYS, Keyring
from shared.config import StreamSettings, TimeSettings, get_concurrency_config
from shared.messages import TaskMessage
from shared.routing import INTERVIEW_TIPS, Lane, Tier
from shared.state import keys
from shared.state.keys import TaskRef
from shared.state.lifecycle import Admission, plan_steps
from shared.state.store import Store
from shared.state.tasks import Tasks

ROUTE_URL = "https://paid-stream.sluice.test"
LANE = Lane.PAID_STREAM
DELIVERY_SECONDS = 120.0
TIME = TimeSettings(30, 300, 480, 600, 3, 5, 604_800, 31_536_000)
STREAM = StreamSettings(100, 64, 86_400, 10_000, 15, 840)
LIMITS = {"MODEL_SLOTS": '{"deepseek-chat:paid": 64}', "QUEUE_MAX_SIZE": "1000"}
"""A lane that is to be measured with many streams needs as many slots; it is given the same variables."""
_STEP = plan_steps(INTERVIEW_TIPS, Tier.PAID, TIME)[0]


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Admits a task of a new user, and delivers it to a lane."""

    store: Store
    lane_url: str

    def run_task(self) -> float:
        """Have one task run; return the seconds from its delivery to the lane's answer.

        Raises:
            RuntimeError: the lane has not done it.
        """
        ref = self._admitted()
        body = _message(ref).to_bytes()
        path = LANE.path(_STEP.template)
        ring = Keyring(DEV_KEYS, random.Random())
        headers = {"Upstash-Signature": ring.sign(ROUTE_URL + path, body, now_seconds=time.time())}
        begun = time.perf_counter()
        answer = httpx.post(
            self.lane_url + path, content=body, headers=headers, timeout=DELIVERY_SECONDS, trust_env=False
        )
        if answer.status_code != 200 or answer.json() != {"status": "done"}:
            raise RuntimeError(f"the lane answered {answer.status_code}: {answer.text[:200]}")
        return time.perf_counter() - begun

    def _admitted(self) -> TaskRef:
        name = uuid.uuid4().hex
        ref = TaskRef(f"t{name}", f"s{name}", f"u{name}")
        self.store.command("HSET", keys.resume(ref.user_id), "summary", json.dumps({"header": {}}))
        match = json.dumps({"text": "score: 80\n\nA good match.", "score": 80})
        job = json.dumps("Platform Engineer: Python, Kafka, Redis.")
        self.store.command("HSET", keys.service(ref.service_id), "jobText", job, "match", match)
        tasks = Tasks(self.store, concurrency=get_concurrency_config(LIMITS), time=TIME, stream=STREAM)
        admitted = tasks.admit(Admission(ref, INTERVIEW_TIPS, "en", {}, initial_quota=8))
        if admitted.status != "accepted":
            raise RuntimeError(f"the task was not admitted: {admitted.status}")
        return ref


def _message(ref: TaskRef) -> TaskMessage:
    return TaskMessage(
        task_id=ref.task_id,
        service_id=ref.service_id,
        user_id=ref.user_id,
        template_id=_STEP.template,
        step=0,
        queue_id=LANE,
        model_id=_STEP.model,
        tier=Tier.PAID,
        counter_key=keys.slots(_STEP.model, Tier.PAID),
        locale="en",
        retries=TIME.task_retries,
        enqueued_at=time.time_ns() // 1_000_000,
    )
