"""One Sluice stack in a process of its own, directed by lines on its input (`bench.pipelines.subjects`).

    python -m bench.pipelines.stack --model http://127.0.0.1:1234 --folder FOLDER STREAM_FLUSH_INTERVAL_MS=0

The reader must not share its interpreter with the broker's stand-in, which runs in a thread here. Users,
résumés and services are in Redis beforehand: one action is measured, from its request to its last event.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from bench.pipelines.subjects import THREADS
from devstack.interruption import exit_on_termination
from devstack.stack import Stack
from shared.routing import Lane
from shared.state import keys

LANE = Lane.PAID_STREAM
USERS = 128
_ROOMY = {
    "DEEPSEEK_MAX_WORKERS": str(THREADS),
    "QUEUE_MAX_SIZE": "1000",
    "INITIAL_QUOTA": "1000000",
    "RATE_LIMIT_WRITES": "1000000/minute",
    "SWEEP_MINUTES": "59",  # the sweep's few commands would fall into some runs and not into others
}
_RESUME = {
    "fullName": "Mei Lin",
    "headline": "Senior backend engineer with 8 years in payments",
    "skills": ["Python", "PostgreSQL", "Redis", "Kafka"],
    "experience": [
        {"role": "Senior Engineer", "company": "Northwind Pay", "highlights": ["Led the ledger rewrite"]}
    ],
}
_JOB = (
    "Senior Platform Engineer at Fabrikam. You have 5 years with Python and Redis, know Kafka, mentor others."
)


def main() -> None:
    """Run the stack until the input ends."""
    arguments = _parser().parse_args()
    exit_on_termination()
    settings = dict(pair.split("=", 1) for pair in arguments.settings)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Stack(
            overrides=_ROOMY | settings,
            provider_environment={"DEEPSEEK_API_KEY": "bench", "DEEPSEEK_BASE_URL": f"{arguments.model}/v1"},
            build_folder=arguments.folder,
            sleeping=[lane for lane in Lane if lane != LANE],  # nothing is sent to them
        ) as stack,
    ):
        _tell(
            {
                "actionsUrl": stack.url("actions"),
                "redisUrl": stack.redis_url,
                "pid": stack.pid(LANE),
                "users": _make_users(stack),
            }
        )
        for line in sys.stdin:
            _tell(_obey(stack, line.strip()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.pipelines.stack", description=__doc__)
    parser.add_argument("--model", required=True, help="the origin of the fake model")
    parser.add_argument("--folder", type=Path, required=True, help="where bundles are staged and logs go")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="variables of the functions")
    return parser


def _make_users(stack: Stack) -> list[dict[str, str]]:
    users = [{"sub": f"user-{number}", "serviceId": f"service-{number}"} for number in range(USERS)]
    with contextlib.closing(stack.open_store()) as store:
        for user in users:
            store.command("HSET", keys.resume(user["sub"]), "summary", json.dumps(_RESUME))
            service = {
                "jobText": json.dumps(_JOB),
                "match": json.dumps({"text": "score: 80\nFits.", "score": 80}),
            }
            fields = [part for pair in service.items() for part in pair]
            store.command("HSET", keys.service(user["serviceId"]), "userId", user["sub"], *fields)
    return [{"token": stack.user_token(user["sub"]), "serviceId": user["serviceId"]} for user in users]


def _obey(stack: Stack, order: str) -> Any:
    match order:
        case "kill":
            stack.kill(LANE)
            return {}
        case "restart":
            stack.restart(LANE)
            return {"pid": stack.pid(LANE)}
        case "journal":
            return [
                {"taskId": _task_of(event), "state": event["state"], "time": event["time"]}
                for event in stack.qstash.events()
            ]
    raise ValueError(order)


def _task_of(event: dict[str, Any]) -> str:
    with contextlib.suppress(ValueError, KeyError):
        return str(json.loads(base64.b64decode(event["body"]))["taskId"])
    return ""


def _tell(fact: Any) -> None:
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    main()
