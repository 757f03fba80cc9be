"""How things are called on a provider. One place, so that policies, planner and providers mean the same ones.

Every name holds the environment's, so that two environments can share an account and never meet.
"""

from __future__ import annotations

from deployment.environments import Environment, GcpPlace, Platform

PREFIX = "sluice"
ACCOUNT_CHARACTERS = 30
"""How long the id of a service account may be on Google Cloud."""
TAG_ENVIRONMENT = "sluice:environment"
TAG_FUNCTION = "sluice:function"


def function_name(environment: Environment, function: str) -> str:
    """Return what a function is called: on Lambda, as a Cloud Run service, as a role or a service account."""
    return f"{PREFIX}-{environment.name}-{function.replace('_', '-')}"


def log_group(environment: Environment, function: str) -> str:
    """Return the log group that Lambda writes a function's log to."""
    return f"/aws/lambda/{function_name(environment, function)}"


def account_id(environment: Environment, function: str) -> str:
    """Return the id of a function's service account: its name, without the prefix where Google takes no more.

    Whether that is short enough is for `deployment.validation` to say.
    """
    name = function_name(environment, function)
    return name if len(name) <= ACCOUNT_CHARACTERS else name.removeprefix(f"{PREFIX}-")


def service_account(environment: Environment, function: str) -> str:
    """Return the e-mail address of a function's service account on Google Cloud."""
    assert isinstance(environment.place, GcpPlace)
    return f"{account_id(environment, function)}@{environment.place.project}.iam.gserviceaccount.com"


def secret_name(environment: Environment, variable: str) -> str:
    """Return the name of the secret whose value a function finds under `variable`.

    The file's own name for it, else `sluice/<environment>/<VARIABLE>` on AWS,
    `sluice-<environment>-<variable-with-dashes>` on Google Cloud, and the variable itself on this machine.
    """
    if variable in environment.secrets:
        return environment.secrets[variable]
    match environment.provider:
        case Platform.AWS:
            return f"{PREFIX}/{environment.name}/{variable}"
        case Platform.GCP:
            return f"{PREFIX}-{environment.name}-{variable.lower().replace('_', '-')}"
        case Platform.LOCAL:
            return variable
