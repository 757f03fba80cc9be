"""Nobody is handed what is not theirs, and no role may do more than its function needs.

The catalogue is compared with the table of who holds what. Where they agree, the policies that would be
written are made and given to the linter, so that none is ever written that it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployment.catalogue import CATALOGUE_FILE, FunctionSpec
from deployment.environments import AwsPlace, GcpPlace, LocalPlace
from deployment.holdings import HOLDINGS, Blobs, Holding
from deployment.policies import aws_policy, aws_trust, gcp_bindings
from deployment.policy_linter import lint, lint_bindings, lint_trust
from deployment.problems import Problem, file_name, near
from deployment.validation.subject import Subject
from shared.routing import Lane, Provider, models_of

_KEYS = {f"{provider.upper()}_API_KEY": provider for provider in Provider}
_SECRETS = frozenset().union(*(holding.all_secrets for holding in HOLDINGS.values()))


def problems(subject: Subject) -> list[Problem]:
    """Return what the catalogue hands over against the table, and what the linter finds in policies."""
    return list(_handed_over(subject)) or list(_granted(subject))


def _granted(subject: Subject) -> Iterator[Problem]:
    environment = subject.environment
    for name, spec in subject.specs.items():
        match environment.place:
            case AwsPlace():
                findings = lint(aws_policy(spec, environment), spec, environment)
                findings += lint_trust(aws_trust(environment), environment)
            case GcpPlace():
                findings = lint_bindings(gcp_bindings(spec, environment), spec, environment)
            case LocalPlace():
                findings = []
        for finding in findings:
            yield subject.of(name, "uses", f"leads to a policy that is refused: {finding}")


def _handed_over(subject: Subject) -> Iterator[Problem]:
    for name in HOLDINGS:
        if name not in subject.catalogue:
            yield Problem(file_name(CATALOGUE_FILE), f"functions.{name}", "", "is missing")
    for name, spec in subject.catalogue.items():
        if name in HOLDINGS:
            for key, text in _wrong(spec, HOLDINGS[name]):
                yield subject.of(name, key, text)
        else:
            yield subject.of(name, "", f"is unknown to deployment/holdings.py; {near(name, HOLDINGS)}")


def _wrong(spec: FunctionSpec, holding: Holding) -> Iterator[tuple[str, str]]:
    """Yield key and text of what a function is handed wrongly."""
    for secret in sorted(set(spec.secrets) - holding.all_secrets):
        yield "uses", f"hands over {secret}, which {spec.name} must not hold{_why(spec.lane, secret)}"
    for secret in sorted(holding.secrets - set(spec.secrets)):
        yield "uses", f"does not hand over {secret}, which {spec.name} needs"
    for secret in sorted(holding.secrets & set(spec.optional_secrets)):
        yield "uses", f"declares {secret} as optional, but {spec.name} needs it"
    for secret in sorted(set(spec.variables) & _SECRETS):
        yield "uses", f"hands over {secret} in plain text; it is a secret"
    if ("BLOB_URL" in spec.variables) is (holding.blobs is Blobs.NONE):
        verb = "hands over" if holding.blobs is Blobs.NONE else "does not hand over"
        yield "uses", f"{verb} BLOB_URL; by deployment/holdings.py {spec.name} has images: {holding.blobs}"


def _why(lane: Lane | None, secret: str) -> str:
    """Say why a provider's key is not a lane's."""
    if lane is None or secret not in _KEYS:
        return ""
    called = sorted({model.provider for model in models_of(lane)})
    return f": it calls {' and '.join(called)} alone, and this is the key of {_KEYS[secret]}"
