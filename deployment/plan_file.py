"""A plan as a file: what was decided, from what, so that another machine performs exactly that or refuses.

It holds no secret: variables, versions and digests only. It is refused when the environment is no longer as
it was observed, when the newest release is another one, or when the file is of another format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployment.errors import Refused, WorldMoved
from deployment.steps import Plan, step_from_json, step_to_json

FORMAT = 1


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON-able values; `digest` is over all the rest."""
    document = {
        "format": FORMAT,
        "environment": plan.environment,
        "observed": plan.observed_digest,
        "warnings": list(plan.warnings),
        "steps": [step_to_json(step) for step in plan.steps],
    }
    return document | {"digest": _digest(document)}


def save_plan(plan: Plan, file: Path) -> None:
    """Write a plan to a file.

    Raises:
        Refused: the file cannot be written.
    """
    try:
        file.write_text(json.dumps(plan_to_json(plan), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise Refused(f"The plan cannot be written to {file}: {error.strerror}.") from error


def load_plan(file: Path) -> Plan:
    """Read a plan from a file.

    Raises:
        Refused: it cannot be read, is no plan of this version, or has been changed by hand.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        claimed = document.pop("digest")
        if document["format"] != FORMAT:
            raise Refused(f"{file} has the format {document['format']}; this program reads {FORMAT}.")
        if claimed != _digest(document):
            raise Refused(f"{file} was changed after it was made. Make a new plan.")
        return Plan(
            document["environment"],
            tuple(step_from_json(step) for step in document["steps"]),
            document["observed"],
            tuple(document["warnings"]),
        )
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{file} is no saved plan.") from error


def refuse_if_moved(plan: Plan, world_digest: str) -> None:
    """Return when the environment is still as the plan was computed from.

    Args:
        plan: what was saved.
        world_digest: `deployment.planner.world_digest` of what is there now.

    Raises:
        WorldMoved: it is not.
    """
    if plan.observed_digest != world_digest:
        raise WorldMoved(
            f"The environment {plan.environment} has changed since this plan was made. "
            "Nothing was done. Make a new plan and look at it again."
        )


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
