"""What everything of an environment is called on AWS, and the tags by which its own is known from others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deployment.environments import AwsPlace, Environment
from deployment.names import TAG_ENVIRONMENT, TAG_FUNCTION, function_name, log_group

PACKAGES = "packages/"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one environment's parts; each carries the environment's own name."""

    environment: Environment

    @property
    def place(self) -> AwsPlace:
        assert self.environment.aws is not None, "an environment of the provider aws has a table [aws]"
        return self.environment.aws

    def function(self, name: str) -> str:
        """Return the name of a function and of its role."""
        return function_name(self.environment, name)

    def role_arn(self, name: str) -> str:
        return f"arn:aws:iam::{self.place.account}:role/{self.function(name)}"

    def log_group(self, name: str) -> str:
        return log_group(self.environment, name)

    def log_group_arn(self, name: str) -> str:
        place = f"{self.place.region}:{self.place.account}"
        return f"arn:aws:logs:{place}:log-group:{self.log_group(name)}"

    def tags(self, name: str | None = None) -> dict[str, str]:
        """Return the tags of what belongs to a function, or to the environment as a whole."""
        return {TAG_ENVIRONMENT: self.environment.name} | ({TAG_FUNCTION: name} if name else {})

    def tag_list(self, name: str | None = None) -> list[Any]:
        """Return the tags as most services want them; each has a type of its own for that."""
        return [{"Key": key, "Value": value} for key, value in self.tags(name).items()]

    def owns(self, tags: Mapping[str, str], name: str | None = None) -> bool:
        """Return whether something with these tags is ours."""
        return self.tags(name).items() <= tags.items()


def from_tag_list(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return what most services tell of tags, by key."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def package_key(code: str) -> str:
    """Return where a package lies in the environment's bucket."""
    return f"{PACKAGES}{code}.zip"


def code_of(key: str) -> str:
    """Return the content digest of the package that lies there."""
    return key.removeprefix(PACKAGES).removesuffix(".zip")
