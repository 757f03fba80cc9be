"""The stand-in: a provider that can be believed, counted and made to fail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from devstack.llm import LlmStandIn
from devstack.llm.pieces import split_pieces
from shared.llm.runner import TemplateCall
from shared.routing import Template
from tests.integration.llm_kit import RESUME, Attempt, make_call, wait_until


@pytest.fixture
def llm() -> Iterator[LlmStandIn]:
    with LlmStandIn() as stand_in:
        yield stand_in


def ask(base_url: str, *, key: str = "k", **request: Any) -> httpx.Response:
    body = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "Hello"}], **request}
    return httpx.post(f"{base_url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})


def run(llm: LlmStandIn, call: TemplateCall) -> dict[str, Any]:
    return Attempt(llm).run(call).result


@pytest.mark.parametrize(
    "text", ["Hello, World! This is Sluice.", "你好，世界。score: 85\n\n## 总体评价", "🙂 é\u2028x"]
)
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(split_pieces(text)) == text


def test_an_answer_speaks_of_the_person_in_the_material(llm: LlmStandIn) -> None:
    summary = run(llm, make_call(Template.RESUME_SUMMARY))
    assert summary["header"]["name"] == "Mara Lindqvist"
    assert summary["header"]["email"] == "mara@example.com"
    assert summary["experience"][0]["company"] == "Northwind Payments"
    assert summary["education"][0]["school"] == "University of Leeds"
    assert {"Kafka", "Redis"} <= set(summary["skills"]["tools"])
    match = run(llm, make_call(Template.JOB_MATCH, resume=summary))
    assert "Brightwater" in match["text"]
    assert "Northwind Payments" in match["text"]


def test_the_same_request_gets_the_same_answer(llm: LlmStandIn) -> None:
    call = make_call(Template.JOB_MATCH)
    assert run(llm, call) == run(llm, call)


def test_a_customised_resume_never_gains_a_skill(llm: LlmStandIn) -> None:
    summary = run(llm, make_call(Template.RESUME_SUMMARY))
    custom = run(
        llm, make_call(Template.RESUME_CUSTOMIZE, resume=summary, job="Chef\nMust have\n- Rust, Kafka")
    )
    assert "Kafka" in custom["resume"]["skills"]
    assert "Rust" not in custom["resume"]["skills"]
    assert custom["resume"]["basics"]["name"] == "Mara Lindqvist"


def test_an_answer_that_is_not_streamed_is_the_same_text(llm: LlmStandIn) -> None:
    whole = ask(llm.base_url).json()["choices"][0]["message"]["content"]
    streamed = ask(llm.base_url, stream=True, stream_options={"include_usage": True}).text
    events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"]) == whole
    assert events[-1]["usage"]["total_tokens"] > 0
    assert streamed.endswith("data: [DONE]\n\n")


def test_max_tokens_cuts_the_answer(llm: LlmStandIn) -> None:
    choice = ask(llm.base_url, max_tokens=2).json()["choices"][0]
    assert choice["finish_reason"] == "length"


@pytest.mark.parametrize(
    "request_",
    [
        {"model": "gpt-9"},
        {"messages": []},
        {"model": "deepseek-reasoner", "tool_choice": "required"},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}
            ]
        },
    ],
)
def test_what_a_provider_would_refuse_is_refused(llm: LlmStandIn, request_: dict[str, Any]) -> None:
    assert ask(llm.base_url, **request_).status_code == 400


def test_a_call_without_a_key_is_refused(llm: LlmStandIn) -> None:
    assert httpx.post(f"{llm.base_url}/chat/completions", json={}).status_code == 401


def test_it_answers_with_and_without_v1(llm: LlmStandIn) -> None:
    bare = llm.base_url.removesuffix("/v1")
    assert [m["id"] for m in httpx.get(f"{bare}/models").json()["data"]] == [
        m["id"] for m in httpx.get(f"{llm.base_url}/models").json()["data"]
    ]


def test_a_fault_about_somebody_spoils_no_other_call(llm: LlmStandIn) -> None:
    llm.fail("status", status=503, about="Mara", times=None)
    mara, other = ([{"role": "user", "content": name}] for name in ("I am Mara.", "I am Olu."))
    assert [ask(llm.base_url, messages=m).status_code for m in (mara, other, mara)] == [503, 200, 503]


def test_an_endless_text_is_the_one_that_was_asked_for(llm: LlmStandIn) -> None:
    llm.fail("endless", text="over and ")
    with httpx.stream(
        "POST",
        f"{llm.base_url}/chat/completions",
        json={"model": "deepseek-chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]},
        headers={"Authorization": "Bearer k"},
    ) as response:
        lines = (line for line in response.iter_lines() if "content" in line)
        events = [json.loads(line[6:]) for line, _ in zip(lines, range(8), strict=False)]
    said = "".join(event["choices"][0]["delta"]["content"] for event in events)
    assert said.startswith("over and over and")


def test_a_model_that_only_thinks_never_comes_to_its_answer(llm: LlmStandIn) -> None:
    llm.fail("thinking")
    with httpx.stream(
        "POST",
        f"{llm.base_url}/chat/completions",
        json={"model": "deepseek-chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]},
        headers={"Authorization": "Bearer k"},
    ) as response:
        lines = [line for line, _ in zip(response.iter_lines(), range(200), strict=False) if line]
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines]
    assert all("reasoning_content" in delta for delta in deltas[1:])
    assert len(deltas) > 90


def test_when_a_call_was_closed_early_is_known_by_what_it_was_told(llm: LlmStandIn) -> None:
    llm.fail("hang", times=2)
    for name in ("Mara", "Olu"):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{llm.base_url}/chat/completions",
                json={"model": "deepseek-chat", "messages": [{"role": "user", "content": name}]},
                headers={"Authorization": "Bearer k"},
                timeout=0.1,
            )
    wait_until(lambda: llm.closed_at("Olu") is not None)
    mara, olu = llm.closed_at("Mara"), llm.closed_at("Olu")
    assert mara is not None
    assert olu is not None
    assert mara < olu
    assert llm.closed_at("nobody") is None


def test_a_provider_that_is_away_refuses_or_does_not_answer_and_comes_back(llm: LlmStandIn) -> None:
    with llm.refusing(), pytest.raises(httpx.ConnectError):
        ask(llm.base_url)
    with llm.out_of_reach(), pytest.raises(httpx.ConnectTimeout):
        httpx.get(f"{llm.base_url}/models", timeout=0.2)
    assert ask(llm.base_url).status_code == 200


def test_calls_are_counted_for_each_model_and_key_at_their_peak(llm: LlmStandIn) -> None:
    llm.fail("hang", times=3)
    origin = llm.base_url.removesuffix("/v1")

    def give_up(key: str) -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{llm.base_url}/chat/completions",
                json={"model": "glm-4.5-flash", "messages": [{"role": "user", "content": "x"}]},
                headers={"Authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(2, connect=10),
            )

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(give_up, key) for key in ("paid", "paid", "free")]
        wait_until(lambda: llm.state["running"] == {"glm-4.5-flash": 3})
        for call in calls:
            call.result()
    wait_until(lambda: httpx.get(f"{origin}/dev/state").json()["closedEarly"] == 3)
    state = httpx.get(f"{origin}/dev/state").json()
    assert state["running"] == {}
    assert state["peak"] == {"glm-4.5-flash": 3}
    assert state["peakByKeyModel"] == {"paid": {"glm-4.5-flash": 2}, "free": {"glm-4.5-flash": 1}}


def test_a_hundred_streams_run_at_once(llm: LlmStandIn) -> None:
    llm.fail("silence", times=100)
    body = {"model": "deepseek-chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    with httpx.Client(
        headers={"Authorization": "Bearer k"}, limits=httpx.Limits(max_connections=100)
    ) as client:
        with ExitStack() as open_streams:
            request = partial(
                client.stream, "POST", f"{llm.base_url}/chat/completions", json=body, timeout=30
            )
            streams = [open_streams.enter_context(request()).iter_lines() for _ in range(100)]
            assert all(next(lines).startswith("data:") for lines in streams)
            assert llm.state["running"] == {"deepseek-chat": 100}
        wait_until(lambda: not llm.state["running"])
    assert llm.state["closedEarly"] == 100


def test_faults_and_pace_are_set_over_http_and_cleared(llm: LlmStandIn) -> None:
    origin = llm.base_url.removesuffix("/v1")
    fault = {"kind": "status", "status": 429, "retryAfter": "3", "times": None, "model": "deepseek-chat"}
    assert httpx.post(f"{origin}/dev/faults", json=fault).status_code == 200
    refused = ask(llm.base_url)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert ask(llm.base_url, model="glm-4.5-flash").status_code == 200
    httpx.delete(f"{origin}/dev/faults")
    assert ask(llm.base_url).status_code == 200
    httpx.post(f"{origin}/dev/pace", json={"tokensPerSecond": 77})
    assert llm.pace.tokens_per_second == 77
    assert httpx.post(f"{origin}/dev/faults", json={"kind": "flood"}).status_code == 400


def test_a_change_of_the_pace_is_felt_in_the_middle_of_a_text(llm: LlmStandIn) -> None:
    """At one token a second its end would be minutes away."""
    llm.pace.tokens_per_second = 1
    body = {"model": "deepseek-chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    url, headers = f"{llm.base_url}/chat/completions", {"Authorization": "Bearer k"}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=30) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data:")
        llm.pace.tokens_per_second = 5_000
        assert "data: [DONE]" in list(lines)


def test_it_runs_alone_on_a_port_of_its_choice() -> None:
    command = [sys.executable, "-m", "devstack.llm", "--first-token-ms", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().split()[-1]
        assert ask(base_url).status_code == 200
        process.terminate()


def test_a_resume_in_chinese_is_read_too(llm: LlmStandIn) -> None:
    text = "林晓雯\n邮箱：lin@example.com\n\n工作经历\n后端工程师，云岸科技（2021年4月 至今）\n- 负责订单中心（Go、Kafka）\n"
    summary = run(llm, make_call(Template.RESUME_SUMMARY, "zh", resume_text=text))
    assert summary["header"]["name"] == "林晓雯"
    assert summary["experience"] == [
        {
            "role": "后端工程师",
            "company": "云岸科技",
            "duration": "2021年4月 至今",
            "highlights": ["负责订单中心（Go、Kafka）"],
            "stack": ["Go", "Kafka"],
        }
    ]


def test_the_resume_of_these_tests_is_read_whole(llm: LlmStandIn) -> None:
    assert RESUME.count("Northwind Payments") == 1
    [position] = run(llm, make_call(Template.DETAILED_RESUME_SUMMARY))["experiences"]
    assert (position["role"], position["company"]) == ("Senior Backend Engineer", "Northwind Payments")
