"""Secrets: read by stage or version only, since moto answers the old value where neither is named."""

from __future__ import annotations

from typing import NoReturn

from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule


class Unfaithful(AssertionError):
    """A call that AWS would answer rightly and moto does not: whoever is tested on moto must not make it."""


@rule(
    "secretsmanager",
    "GetSecretValue",
    "BatchGetSecretValue",
    document="Secrets Manager API Reference, GetSecretValue: VersionStage is AWSCURRENT unless one is named",
)
def stage_named(call: Call, proceed: Proceed) -> Answer:
    """A value is asked for by VersionId or VersionStage.

    After AWSCURRENT has moved by update_secret_version_stage, moto still answers the old value to a call
    that names neither, and to every batch.
    """
    if not {"VersionId", "VersionStage"} & call.params.keys():
        _refuse(call)
    return proceed()


def _refuse(call: Call) -> NoReturn:
    raise Unfaithful(
        f"{call.operation} without VersionId or VersionStage: moto would answer the value from before "
        "the last move of AWSCURRENT"
    )
