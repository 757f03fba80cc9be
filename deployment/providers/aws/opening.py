"""Opening an environment on AWS: with the credentials of the shell, or in an emulator of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import boto3
import botocore.exceptions
import httpx

from deployment.catalogue import FunctionSpec
from deployment.environments import AwsPlace, Environment
from deployment.errors import Refused
from deployment.providers.aws.provider import AwsProvider


class Emulated(Protocol):
    """An AWS that runs on this machine."""

    def session(self, region: str, *, account: str) -> boto3.Session: ...
    def transport(self) -> httpx.BaseTransport: ...


class Emulator(Protocol):
    """A module that starts one, or finds the one that runs already."""

    def open_emulated(self, folder: Path) -> Emulated: ...


def open_aws(
    environment: Environment, specs: Mapping[str, FunctionSpec], emulator: Emulator | None, folder: Path
) -> AwsProvider:
    """Return the provider of an environment.

    Args:
        environment: the environment; it has a table [aws].
        specs: the functions, with the environment's overrides.
        emulator: imitates AWS on this machine; None: the account that the credentials lead to.
        folder: where an emulator keeps its state.

    Raises:
        Refused: there are no credentials.
    """
    place = environment.place
    assert isinstance(place, AwsPlace), "an environment on AWS has a table [aws]"
    if emulator is not None:
        emulated = emulator.open_emulated(folder)
        session = emulated.session(place.region, account=place.account)
        return AwsProvider(environment, specs, session, transport=emulated.transport())
    try:
        session = boto3.Session(region_name=place.region)
        known = session.get_credentials()
    except botocore.exceptions.BotoCoreError as error:  # AWS_PROFILE names one that there is not
        raise Refused(f"The AWS credentials cannot be used: {error}") from error
    if known is None:
        raise Refused(
            "There are no AWS credentials. Sign in (`aws sso login`) and name the profile in AWS_PROFILE, "
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Without an account: --emulate aws"
        )
    return AwsProvider(environment, specs, session)
