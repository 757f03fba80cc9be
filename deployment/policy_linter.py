"""Our own judge of policies, because the emulated AWS has none: does a document say the least that it must?

`lint`, `lint_trust` and `lint_bindings` compare what is about to be written with what the function needs by
the table of who holds what (`deployment.holdings`), and report whatever is wider than needed, is not needed,
or is lacking. They ask for what is needed to the letter: what is only equivalent is reported too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from deployment.catalogue import FunctionSpec
from deployment.environments import Environment
from deployment.holdings import HOLDINGS, Blobs, holding_of
from deployment.names import service_account
from deployment.policies import (
    READS_OBJECTS,
    READS_SECRETS,
    WRITES_OBJECTS,
    Binding,
    aws_log,
    aws_secret,
    gcp_condition,
    gcp_secret,
    images_folder,
    in_own_account,
)
from deployment.policy_evaluation import as_list, simulate, statements_of

__all__ = ["Finding", "Need", "covers", "lint", "lint_bindings", "lint_trust", "needs_of", "simulate"]

VERSION = "2012-10-17"
_STATEMENT_KEYS = {"Sid", "Effect", "Action", "Resource", "Condition"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a policy should not say, or should."""

    place: str
    """The statement, by its Sid or its number; for Google the resource."""
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Need:
    """One action on one pattern of resources that a function cannot work without."""

    action: str
    resource: str
    condition: Mapping[str, Any]


def lint(document: Mapping[str, Any], spec: FunctionSpec, environment: Environment) -> list[Finding]:
    """Return what is wrong with the policy of the role that `spec` runs as; empty when it is the least."""
    needs = needs_of(spec, environment)
    findings = [] if document.get("Version") == VERSION else [Finding("policy", f"Version must be {VERSION}")]
    granted: set[tuple[str, str]] = set()
    for number, statement in enumerate(statements_of(document), start=1):
        place = str(statement.get("Sid") or f"statement {number}")
        shape = list(_wrong_shape(statement))
        findings += [Finding(place, text) for text in shape]
        if not shape:
            findings += [Finding(place, text) for text in _wide(statement, needs, granted, environment)]
    lacking = [need for need in needs if (need.action, need.resource) not in granted]
    return findings + [Finding("policy", f"lacks {need.action} on {need.resource}") for need in lacking]


def lint_trust(document: Mapping[str, Any], environment: Environment) -> list[Finding]:
    """Return what is wrong with the trust policy of a function's role."""
    findings = []
    for number, statement in enumerate(statements_of(document), start=1):
        place = str(statement.get("Sid") or f"statement {number}")
        findings += [Finding(place, text) for text in _wrong_trust(statement, environment)]
    return findings or ([] if statements_of(document) else [Finding("policy", "lets nobody take the role")])


def lint_bindings(bindings: Iterable[Binding], spec: FunctionSpec, environment: Environment) -> list[Finding]:
    """Return what is wrong with the bindings of the service account that `spec` runs as."""
    needed = _needed_bindings(spec, environment)
    given = list(bindings)
    findings = [Finding(each.resource, _unneeded(each, needed)) for each in given if each not in needed]
    repeated = sorted({each for each in given if given.count(each) > 1})
    findings += [Finding(each.resource, f"{each.role} is bound twice") for each in repeated]
    lacking = [each for each in needed if each not in given]
    return findings + [Finding(each.resource, f"lacks {each.role} for {each.member}") for each in lacking]


def needs_of(spec: FunctionSpec, environment: Environment) -> list[Need]:
    """Return all that a function needs on AWS, from the table of who holds what."""
    needs = [
        Need("secretsmanager:GetSecretValue", aws_secret(environment, variable), {})
        for variable in _secrets(spec, environment)
    ]
    log = aws_log(environment, spec.name)
    needs += [Need("logs:CreateLogStream", log, {}), Need("logs:PutLogEvents", log, {})]
    folder, own = images_folder(environment), in_own_account(environment)
    if folder is None:
        return needs
    objects, bucket = f"arn:aws:s3:::{folder.bucket}/{folder.prefix}*", f"arn:aws:s3:::{folder.bucket}"
    match holding_of(spec.name).blobs:
        case Blobs.READS:
            needs.append(Need("s3:GetObject", objects, own))
        case Blobs.WRITES:
            listing = {**own, "StringLike": {"s3:prefix": f"{folder.prefix}*"}}
            needs += [Need("s3:PutObject", objects, own), Need("s3:DeleteObject", objects, own)]
            needs.append(Need("s3:ListBucket", bucket, listing))
    return needs


@cache
def covers(wide: str, narrow: str) -> bool:
    """Tell whether one pattern (`*` any text, `?` any character) matches all that another matches.

    It may say no of two patterns that differ only in how they are written, never yes wrongly.
    """
    if not wide:
        return not narrow
    if wide[0] == "*":
        return covers(wide[1:], narrow) or (bool(narrow) and covers(wide, narrow[1:]))
    if not narrow or narrow[0] == "*":
        return False
    return wide[0] in {"?", narrow[0]} and covers(wide[1:], narrow[1:])


def _secrets(spec: FunctionSpec, environment: Environment) -> list[str]:
    held = holding_of(spec.name).all_secrets
    return [variable for variable in environment.secrets_of(spec) if variable in held]


def _wrong_shape(statement: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps a statement from being judged action by action, resource by resource."""
    for key in sorted(statement.keys() - _STATEMENT_KEYS):
        yield f"has {key}; only Action and Resource, spelt out, can be judged"
    for key in ("Action", "Resource"):
        if not as_list(statement.get(key, [])):
            yield f"has no {key}"
    if statement.get("Effect") != "Allow":
        yield "does not allow anything; without it the function can do no more"


def _wide(
    statement: Mapping[str, Any],
    needs: Sequence[Need],
    granted: set[tuple[str, str]],
    environment: Environment,
) -> Iterator[str]:
    """Yield what a statement grants beyond `needs`, or again; note in `granted` what it grants of them."""
    condition = _plain(statement.get("Condition", {}))
    for action, resource in product(as_list(statement["Action"]), as_list(statement["Resource"])):
        same = {need.resource: need for need in needs if need.action == action}
        need = same.get(resource)
        if not same:
            pattern = "a pattern of actions" if "*" in action else "not needed"
            yield f"{action} is {pattern}{_grave(action) or _whose(resource, environment)}"
        elif need is None:
            yield f"{action} on {resource} is {_compared(resource, same, environment)}"
        elif _plain(need.condition) != condition:
            yield f"{action} on {resource} must be under the condition {dict(need.condition)}"
        elif (action, resource) in granted:
            yield f"{action} on {resource} is granted twice"
        else:
            granted.add((action, resource))


def _compared(resource: str, needed: Iterable[str], environment: Environment) -> str:
    """Say what is wrong with a pattern of resources of which exactly `needed` may be named."""
    if any(covers(resource, each) for each in needed):
        return f"wider than needed{_whose(resource, environment)}"
    if any(covers(each, resource) for each in needed):
        return "narrower than needed"
    return f"not needed{_whose(resource, environment)}"


def _plain(condition: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Return a condition so that two spellings of it are equal."""
    return {
        operator: {key.lower(): sorted(as_list(values)) for key, values in tests.items()}
        for operator, tests in condition.items()
    }


def _grave(action: str) -> str:
    service = action.partition(":")[0].lower()
    return ": it would let the function take or change a role" if service in {"sts", "iam"} else ""


def _whose(resource: str, environment: Environment) -> str:
    """Return whose secrets a pattern reaches, for the message."""
    if ":secret:" not in resource:
        return ""
    every = sorted({variable for holding in HOLDINGS.values() for variable in holding.all_secrets})
    reached = [variable for variable in every if covers(resource, aws_secret(environment, variable))]
    return f": it reaches {', '.join(reached)}" if reached else ""


def _wrong_trust(statement: Mapping[str, Any], environment: Environment) -> Iterator[str]:
    for key in sorted(statement.keys() - {"Sid", "Effect", "Principal", "Action", "Condition"}):
        yield f"has {key}"
    if statement.get("Effect") != "Allow":
        yield "does not allow anything"
    if statement.get("Principal") != {"Service": "lambda.amazonaws.com"}:
        yield "lets somebody else than Lambda take the role"
    if as_list(statement.get("Action", [])) != ["sts:AssumeRole"]:
        yield "allows another action than sts:AssumeRole"
    account = in_own_account(environment)["StringEquals"]["aws:ResourceAccount"]
    wanted = {"StringEquals": {"aws:SourceAccount": account}}
    if _plain(statement.get("Condition", {})) != _plain(wanted):
        yield f"must be under the condition {wanted}"


def _needed_bindings(spec: FunctionSpec, environment: Environment) -> list[Binding]:
    member = f"serviceAccount:{service_account(environment, spec.name)}"
    needed = [
        Binding(gcp_secret(environment, variable), READS_SECRETS, member)
        for variable in _secrets(spec, environment)
    ]
    folder, blobs = images_folder(environment), holding_of(spec.name).blobs
    if folder and blobs is not Blobs.NONE:
        role = {Blobs.READS: READS_OBJECTS, Blobs.WRITES: WRITES_OBJECTS}[blobs]
        condition = gcp_condition(folder, lists=blobs is Blobs.WRITES)
        needed.append(Binding(f"projects/_/buckets/{folder.bucket}", role, member, condition))
    return needed


def _unneeded(binding: Binding, needed: Sequence[Binding]) -> str:
    """Say why a binding is not one of those that are needed."""
    same = [each for each in needed if (each.resource, each.role) == (binding.resource, binding.role)]
    if not re.fullmatch(r"projects/[^/]+/(secrets|buckets)/[^/]+", binding.resource):
        return f"{binding.role} reaches further than one secret or one bucket"
    if not same:
        return f"{binding.role} is not needed here"
    if binding.member != same[0].member:
        return f"{binding.role} is given to {binding.member}, not to {same[0].member}"
    return f"{binding.role} must be under the condition {same[0].condition or 'that there is none'}"
