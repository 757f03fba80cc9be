"""What stands in an environment's file: nothing of development in a real one, no secret, no blank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from deployment.environments import OWN_ADDRESS, TELEMETRY_HEADERS, Platform, RedisBy, addressed_by
from deployment.names import secret_name
from deployment.problems import Problem, near
from deployment.validation.subject import Subject
from shared.config import PUBLIC_DEV_KEYS
from shared.settings import Env
from shared.variables import Variables

TO_FILL_IN = "is still to be filled in"
EMULATED_ACCOUNT = "123456789012"
EMULATED_PROJECT = "sluice-emulated"
_BLANK = re.compile(r"<[^<>]+>")
_SECRETS = re.compile(
    r"\bsk-[\w-]{16,}|\bsig_\w{20,}|\b(AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[\w-]{10,}\.[\w-]+|-----BEGIN "
    r"|://[^/\s:@]*:[^/\s@]+@|\b[0-9a-f]{32}\.\w{16}\b"
)
"""Keys of models, QStash's, AWS's, tokens, PEM, a URL with a password."""
_OPAQUE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/_=-]{32,}")
_MAY_BE_OPAQUE = frozenset({"AUTH_AUDIENCE"})
"""An issuer's client ids look like secrets, and are none."""
_LOOPBACK = re.compile(r"(localhost|.*\.localhost|127\.[\d.]+|0\.0\.0\.0|::1?)")
_NAMES = {
    Platform.AWS: (re.compile(r"[\w/+=.@-]{1,512}", re.ASCII), "letters, digits and /_+=.@-, at most 512"),
    Platform.GCP: (re.compile(r"[\w-]{1,255}", re.ASCII), "letters, digits, _ and -, at most 255"),
    Platform.LOCAL: (re.compile(r"\w{1,100}", re.ASCII), "letters, digits and _, at most 100"),
}
"""What secrets may be called: CreateSecret of AWS, secretId of Google's Secret Manager, a file's name."""
_AWS_SUFFIX = re.compile(r".*-\w{6}")
_REFERENCE = re.compile(r"\$\{url:(\w*)\}")
_COLLECTORS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
"""Where traces and metrics go: a collector beside the function, at localhost, is none of development."""
_BLOBS = {Platform.AWS: "s3", Platform.GCP: "gs"}


def problems(subject: Subject) -> Iterator[Problem]:
    """Yield what an environment's file says wrongly."""
    yield from unfilled(subject)
    yield from _kind(subject)
    yield from _secrets_in_plain_text(subject)
    yield from _variables(subject)
    yield from _telemetry(subject)
    yield from _secret_names(subject)
    yield from _addresses(subject)
    if subject.is_real:
        yield from _of_development(subject)
    for name in sorted(subject.environment.functions.keys() - subject.catalogue.keys()):
        yield subject.here(f"functions.{name}", "", f"is no function; {near(name, subject.catalogue)}")


def unfilled(subject: Subject) -> list[Problem]:
    """Return the blanks of a file that was copied and not filled in yet: what stands between < and >."""
    return [
        subject.here(table, key, f"{TO_FILL_IN}: {blank[0]}")
        for table, key, text in subject.texts
        if (blank := _BLANK.search(text))
    ]


def _kind(subject: Subject) -> Iterator[Problem]:
    """Yield contradictions between provider, kind and protection."""
    environment = subject.environment
    kind, provider = environment.sluice_env, environment.provider
    if environment.emulated and (provider is Platform.LOCAL or kind is not Env.DEV):
        yield subject.here("", "emulated", 'needs provider = "aws" or "gcp", and sluice_env = "dev"')
    elif environment.aws and environment.emulated and environment.aws.account != EMULATED_ACCOUNT:
        yield subject.here("aws", "account", f"must be {EMULATED_ACCOUNT} where the account is an imitation")
    elif environment.gcp and environment.emulated and environment.gcp.project != EMULATED_PROJECT:
        yield subject.here("gcp", "project", f"must be {EMULATED_PROJECT} where the project is an imitation")
    elif kind is Env.DEV and provider is not Platform.LOCAL and not environment.emulated:
        text = f'is "dev", which takes public keys; on {provider} it must be "staging" or "prod"'
        yield subject.here("", "sluice_env", text)
    if provider is Platform.LOCAL and kind is not Env.DEV:
        yield subject.here("", "sluice_env", f'is "{kind}", but this machine runs only "dev"')
    if kind is Env.PROD and not environment.protected:
        yield subject.here("", "protected", "must be true for production")
    if environment.services and subject.is_real:
        yield subject.here("services", "", f'is for development, but sluice_env is "{kind}"')


def _secrets_in_plain_text(subject: Subject) -> Iterator[Problem]:
    for table, key, text in subject.texts:
        if any(public in text for public in PUBLIC_DEV_KEYS):
            yield subject.here(table, key, "holds QStash's public development key; keys live in the store")
        elif _SECRETS.search(text) or (
            table == "variables" and key not in _MAY_BE_OPAQUE and _OPAQUE.fullmatch(text)
        ):
            yield subject.here(table, key, "looks like a secret; secrets live in the store, never in a file")


def _variables(subject: Subject) -> Iterator[Problem]:
    environment, services = subject.environment, subject.environment.services
    declared = sorted({name for spec in subject.catalogue.values() for name in spec.variables})
    for name, value in environment.written.items():
        if text := _misplaced(subject, name, declared):
            yield subject.here("variables", name, text)
        elif nobody := [each for each in _REFERENCE.findall(value) if each not in subject.catalogue]:
            advice = near(nobody[0], subject.catalogue)
            text = f"refers to the address of {nobody[0]}, which is no function; {advice}"
            yield subject.here("variables", name, text)
        elif services and name in services.variables:
            yield subject.here(
                "variables", name, "is given by the services already: take it from one of the two"
            )
    for name in services.variables if services else ():
        if text := _misplaced(subject, name, declared):
            yield subject.here("services", "variables", f"{name} {text}")


def _telemetry(subject: Subject) -> Iterator[Problem]:
    """Yield traces and metrics that would go nowhere, and an address that nothing could send to."""
    environment = subject.environment
    addresses = [name for name in environment.written if name in _COLLECTORS]
    if environment.telemetry and not addresses:
        yield subject.here("", "telemetry", f"is true, but [variables] has no {_COLLECTORS[0]} to send to")
    if addresses and not environment.telemetry:
        text = "needs `telemetry = true` at the top of the file: nothing in a bundle could send to it"
        yield subject.here("variables", addresses[0], text)


def _misplaced(subject: Subject, name: str, declared: Sequence[str]) -> str | None:
    """Say why a name is no variable that an environment's file gives a value; None when it is one."""
    if name == "SLUICE_ENV":
        return "is what sluice_env says, at the top of the file"
    if name == OWN_ADDRESS or addressed_by(name):
        return "is an address: those known beforehand stand in [urls], by function; the others are found out"
    if any(name in spec.secrets for spec in subject.catalogue.values()):
        return f"is a secret: its value belongs into the store, as {secret_name(subject.environment, name)}"
    return None if name in declared else f"is a variable that no function takes; {near(name, declared)}"


def _secret_names(subject: Subject) -> Iterator[Problem]:
    environment = subject.environment
    allowed, described = _NAMES[environment.provider]
    for variable in environment.secrets:
        if variable not in subject.secrets:
            yield subject.here("secrets", variable, _unused(subject, variable))
    names = {variable: secret_name(environment, variable) for variable in subject.secrets}
    for variable, name in names.items():
        if not allowed.fullmatch(name):
            yield subject.here("secrets", variable, f"is no name on {environment.provider}: {described}")
        elif environment.provider is Platform.AWS and _AWS_SUFFIX.fullmatch(name):
            text = (
                "must not end with a dash and six characters: ARNs of secrets do, and could be taken for it"
            )
            yield subject.here("secrets", variable, text)
        twins = [other for other in names if other != variable and names[other] == name]
        if twins and variable in environment.secrets:
            text = f"is the name of {', '.join(twins)} too: who may read one could read the other"
            yield subject.here("secrets", variable, text)


def _unused(subject: Subject, variable: str) -> str:
    """Say why a secret that the file names is handed to nobody."""
    if variable.startswith("AUTH_JWT_SECRET"):
        return "and AUTH_JWKS_URL in [variables] are two ways to check users' tokens: choose one"
    if variable.startswith("UPSTASH_") and subject.environment.redis is RedisBy.TCP:
        return 'is not needed: redis is "tcp"'
    if variable == TELEMETRY_HEADERS and not subject.environment.telemetry:
        return "is not needed: telemetry is not true"
    known = sorted({secret for spec in subject.catalogue.values() for secret in spec.secrets})
    return f"is a secret that no function takes; {near(variable, known)}"


def _addresses(subject: Subject) -> Iterator[Problem]:
    urls = subject.environment.urls
    for function, url in urls.items():
        if function not in subject.catalogue:
            yield subject.here("urls", function, f"is no function; {near(function, subject.catalogue)}")
        if not _is_base_url(url):
            yield subject.here("urls", function, "must be a base URL: https://, a host, no slash at its end")
        same = [other for other in urls if other != function and _same(urls[other], url)]
        if same:
            text = f"is the address of {', '.join(same)} too: what is signed for one is good for the other"
            yield subject.here("urls", function, text)


def _is_base_url(url: str) -> bool:
    """Tell whether it is one, by the reader that the functions themselves use."""
    reader = Variables({"URL": url})
    reader.base_url("URL")
    return not reader.problems


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").lower() == other.rstrip("/").lower()


def _of_development(subject: Subject) -> Iterator[Problem]:
    """Yield addresses that no real environment has."""
    environment = subject.environment
    for table, key, text in subject.texts:
        said = [unreal for part in text.split(",") if (unreal := _unreal(part.strip()))]
        if said and key not in _COLLECTORS:
            yield subject.here(table, key, f'{said[0]}, but sluice_env is "{environment.sluice_env}"')
    scheme = urlsplit(environment.written.get("BLOB_URL", "")).scheme
    wanted = _BLOBS.get(environment.provider)
    if wanted and scheme in _BLOBS.values() and scheme != wanted:
        yield subject.here("variables", "BLOB_URL", f"must be {wanted}://, which the functions' roles reach")


def _unreal(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme == "file":
        return "is a folder of one machine"
    if parts.scheme and _LOOPBACK.fullmatch(host):
        return "is an address of this machine"
    return "is not encrypted (http://)" if parts.scheme == "http" else None
