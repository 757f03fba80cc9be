"""What everything of an environment is called on Google Cloud, and the labels by which its own is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deployment.environments import Environment, GcpPlace
from deployment.names import TAG_ENVIRONMENT, TAG_FUNCTION, account_id, function_name, service_account
from deployment.states import CODE_CHARACTERS

PACKAGES = "packages/"
SUFFIX = ".tar.gz"
_FINGERPRINT = rf"[0-9a-f]{{{CODE_CHARACTERS}}}-[0-9a-f]{{{CODE_CHARACTERS}}}"
_AGAIN = re.compile(rf"({_FINGERPRINT})(?:-r[0-9]+)?")
_TAG = re.compile(r"c-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one environment's parts; each carries the environment's own name."""

    environment: Environment

    @property
    def place(self) -> GcpPlace:
        assert self.environment.gcp is not None, "an environment of the provider gcp has a table [gcp]"
        return self.environment.gcp

    @property
    def parent(self) -> str:
        """Return where the services are."""
        return f"projects/{self.place.project}/locations/{self.place.region}"

    @property
    def project(self) -> str:
        return f"projects/{self.place.project}"

    def service(self, name: str) -> str:
        """Return the name of a function's service."""
        return function_name(self.environment, name)

    def service_path(self, name: str) -> str:
        return f"{self.parent}/services/{self.service(name)}"

    def account_id(self, name: str) -> str:
        """Return by what a function's service account is made."""
        return account_id(self.environment, name)

    def account(self, name: str) -> str:
        """Return the e-mail address of a function's service account."""
        return service_account(self.environment, name)

    def member(self, name: str) -> str:
        """Return how policies name a function's service account."""
        return f"serviceAccount:{self.account(name)}"

    def secret(self, secret: str) -> str:
        """Return a secret's full name."""
        return f"{self.project}/secrets/{secret}"

    def url(self, name: str, tag: str = "") -> str:
        """Return a function's address, or that of a tagged revision: known before there is a service."""
        prefix = f"{tag}---" if tag else ""
        return f"https://{prefix}{self.service(name)}-{self.place.project_number}.{self.place.region}.run.app"

    def tags(self, name: str | None = None) -> dict[str, str]:
        """Return the tags of what belongs to a function, or to the environment as a whole."""
        return {TAG_ENVIRONMENT: self.environment.name} | ({TAG_FUNCTION: name} if name else {})

    def labels(self, name: str | None = None) -> dict[str, str]:
        """Return the tags as labels: Google takes no colon in them."""
        return {key.replace(":", "-"): value for key, value in self.tags(name).items()}

    def owns(self, labels: Mapping[str, str], name: str | None = None) -> bool:
        """Return whether something with these labels is ours."""
        return self.labels(name).items() <= dict(labels).items()

    def description(self, name: str) -> str:
        """Return what a service account says of itself: it takes no labels."""
        return " ".join(f"{key}={value}" for key, value in self.tags(name).items())

    def describes(self, description: str, name: str) -> bool:
        """Return whether a service account with this description is ours."""
        return set(self.description(name).split()) <= set(description.split())

    def revision(self, name: str, fingerprint: str, turn: int = 0) -> str:
        """Return the name of a state's revision; names are never free again, so further turns have others."""
        return f"{self.service(name)}-{fingerprint}" + (f"-r{turn}" if turn else "")

    def fingerprint_in(self, name: str, revision: str) -> str:
        """Return the fingerprint that a revision's name holds; empty when it was not made by us."""
        own, prefix = f"{self.service(name)}-", revision.startswith(f"{self.service(name)}-")
        found = _AGAIN.fullmatch(revision.removeprefix(own)) if prefix else None
        return found[1] if found else ""


def candidate_tag(fingerprint: str) -> str:
    """Return the tag under which a revision is probed: four characters of its code, four of its settings."""
    code, _, config = fingerprint.partition("-")
    return f"c-{code[:4]}{config[:4]}"


def is_candidate_tag(tag: str) -> bool:
    return bool(_TAG.fullmatch(tag))


def package_key(code: str) -> str:
    """Return where a package lies in the environment's bucket."""
    return f"{PACKAGES}{code}{SUFFIX}"


def code_of(key: str) -> str:
    """Return the content digest of the package that lies there."""
    return key.removeprefix(PACKAGES).removesuffix(SUFFIX)
