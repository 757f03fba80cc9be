"""Environments for tests: complete ones for each cloud, and changes to them."""

from __future__ import annotations

from deployment.environments import AwsPlace, Environment, GcpPlace, Platform, Target
from shared.settings import Env

ACCOUNT = "123456789012"
REGION = "eu-central-1"
LAYER = f"arn:aws:lambda:{REGION}:753240598075:layer:LambdaAdapterLayerX86:27"


def on_aws(**changes: object) -> Environment:
    """Return a complete production on AWS."""
    given = {
        "name": "prod",
        "file": "infra/environments/prod.toml",
        "provider": Platform.AWS,
        "sluice_env": Env.PROD,
        "protected": True,
        "aws": AwsPlace(account=ACCOUNT, region=REGION, bucket="sluice-artefacts", adapter_layer=LAYER),
        "target": Target(python="3.13", architecture="x86_64"),
        "variables": _variables("s3://sluice-images/prod"),
    }
    return Environment.model_validate(given | changes)


def on_gcp(**changes: object) -> Environment:
    """Return a complete staging on Google Cloud."""
    given = {
        "name": "staging",
        "file": "infra/environments/staging.toml",
        "provider": Platform.GCP,
        "sluice_env": Env.STAGING,
        "gcp": GcpPlace(
            project="sluice-staging",
            project_number="123456789",
            region="europe-west3",
            bucket="sluice-artefacts",
        ),
        "target": Target(python="3.13", architecture="x86_64"),
        "variables": _variables("gs://sluice-images/staging"),
    }
    return Environment.model_validate(given | changes)


def _variables(blob_url: str) -> dict[str, str]:
    return {
        "QSTASH_URL": "https://qstash.example",
        "ALLOWED_ORIGINS": "https://app.example",
        "BLOB_URL": blob_url,
    }
