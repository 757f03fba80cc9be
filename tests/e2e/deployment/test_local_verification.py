"""Built bundles as real processes: what is sound is green, and each kind of broken isolation turns its cells red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from deployment.bundles.staging import stage
from deployment.catalogue import FunctionSpec, load_catalogue
from deployment.desired import wanted
from deployment.environments import Environment, load_environment
from deployment.errors import ProbeFailed
from deployment.names import secret_name
from deployment.probing import SignedProber
from deployment.providers.local.provider import LocalProvider
from deployment.qstash import QStash
from deployment.resources import Kind
from deployment.states import FunctionState, SecretPin
from deployment.verification import NEXT_KEY, Table, Verifier, signed_for
from shared.settings import SigningKeys

NAMES = ("paid_stream", "free_stream", "actions")
KEYS = ("QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY")
pytestmark = pytest.mark.timeout(300)


class Deployed:
    """The environment `dev`, released to a folder of the test's, with some of its functions."""

    def __init__(self, folder: Path) -> None:
        environment, self.catalogue = load_environment("dev"), load_catalogue()
        self.provider = LocalProvider(environment, self.catalogue, folder / "environment")
        self.client: httpx.Client = self.provider.client()
        self.environment: Environment = environment.supplied(self.provider.variables())
        self.bundles = {b.name: b for b in stage(self._specs.values(), folder / "build")}
        self.states = self._addressed()
        self.pins = self.states["paid_stream"].secrets
        for name in NAMES:
            self.release(self.states[name])

    def close(self) -> None:
        self.provider.end()
        self.client.close()

    def release(self, state: FunctionState) -> None:
        self.provider.upload(state.code, self.bundles[state.name].folder)
        self.provider.publish(state)
        assert state.fingerprint is not None
        self.provider.shift(state.name, {state.fingerprint: 100})

    def probe(self, state: FunctionState) -> None:
        """Do what an apply does with a candidate before it goes live."""
        self.provider.upload(state.code, self.bundles[state.name].folder)
        self.provider.publish(state)
        assert state.fingerprint is not None
        url = self.provider.candidate(state.name, state.fingerprint)
        SignedProber(self.provider.secrets, self.client, self.urls.__getitem__).probe(state, url)

    @property
    def urls(self) -> dict[str, str]:
        return self.provider.observe(list(self.catalogue)).urls

    @property
    def keys(self) -> SigningKeys:
        return SigningKeys(*(self.provider.secrets.read(self.pins[name]) for name in KEYS))

    def verify(self, urls: dict[str, str] | None = None) -> Table:
        return Verifier({name: (urls or self.urls)[name] for name in NAMES}, self.keys, self.client).verify()

    def foreign_keys(self) -> dict[str, SecretPin]:
        """Return pins of signing keys that QStash does not sign with."""
        secrets = self.provider.secrets
        return {
            name: SecretPin(name, secrets.put(name, f"sig_of-another-{name}", request_id=f"foreign {name}"))
            for name in KEYS
        }

    @property
    def _specs(self) -> dict[str, FunctionSpec]:
        return self.environment.specs(self.catalogue)

    def _addressed(self) -> dict[str, FunctionState]:
        specs = self._specs
        variables = {v for spec in specs.values() for v in self.environment.secrets_of(spec)}
        found = self.provider.secrets.describe(secret_name(self.environment, v) for v in variables)
        packages = {name: self.bundles[name].digest for name in specs}
        desired = wanted(self.environment, specs, self.provider, packages=packages, secrets=found)
        for name, resources in desired.resources.items():
            for kind in (Kind.IDENTITY, Kind.LOGS, Kind.ADDRESS):
                self.provider.ensure(name, kind, resources[kind])
        return {name: state.resolved(self.urls) for name, state in desired.states.items()}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    opened = Deployed(tmp_path_factory.mktemp("dev"))
    yield opened
    opened.close()


def red(table: Table) -> set[tuple[str, str]]:
    return {(cell.row, cell.column) for cell in table.wrong}


def test_a_sound_environment_is_green_in_every_cell(deployed: Deployed) -> None:
    table = deployed.verify()
    assert table.ok, table.to_text()
    assert {cell.column for cell in table.cells if cell.status == 200} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_function_passes_its_probe(deployed: Deployed, name: str) -> None:
    deployed.probe(deployed.states[name])


def test_the_bridge_passes_its_probe_with_the_environments_own_stream_tokens(deployed: Deployed) -> None:
    deployed.probe(deployed.states["events"])


def test_a_lane_with_anothers_route_url_is_red_and_does_not_pass_its_probe(deployed: Deployed) -> None:
    sound = deployed.states["paid_stream"]
    broken = replace(sound, variables={**sound.variables, "ROUTE_URL": deployed.urls["free_stream"]})
    with pytest.raises(ProbeFailed, match="signed with the current key"):
        deployed.probe(broken)
    deployed.release(broken)
    try:
        table = deployed.verify()
    finally:
        deployed.release(sound)
    assert red(table) == {(signed_for("paid_stream"), "paid_stream"), (NEXT_KEY, "paid_stream")}
    assert deployed.verify().ok


def test_a_lane_with_keys_of_another_environment_is_red(deployed: Deployed) -> None:
    sound = deployed.states["free_stream"]
    deployed.release(replace(sound, secrets={**sound.secrets, **deployed.foreign_keys()}))
    try:
        table = deployed.verify()
    finally:
        deployed.release(sound)
    assert red(table) == {(signed_for("free_stream"), "free_stream"), (NEXT_KEY, "free_stream")}


def test_two_functions_at_one_address_are_red(deployed: Deployed) -> None:
    urls = deployed.urls
    wrong = red(deployed.verify({**urls, "paid_stream": urls["free_stream"]}))
    assert (signed_for("paid_stream"), "paid_stream") in wrong
    assert {column for _row, column in wrong} == {"paid_stream"}


def test_qstash_the_stand_in_keeps_its_rolled_keys_when_everything_is_started_again(
    deployed: Deployed,
) -> None:
    qstash_url = deployed.environment.variables["QSTASH_URL"]
    token = deployed.provider.secrets.describe(["QSTASH_TOKEN"])["QSTASH_TOKEN"]
    value = deployed.provider.secrets.read(SecretPin("QSTASH_TOKEN", token.current))
    qstash = QStash(qstash_url, value, deployed.client)
    rolled = qstash.rotate()
    deployed.provider.end()
    sound = deployed.states["free_stream"]
    deployed.release(sound)
    assert qstash.keys() == rolled
    # The functions hold the pair of before, whose next is QStash's current one now: nothing is refused.
    assert deployed.keys.next == rolled.current
    assert deployed.verify().ok
