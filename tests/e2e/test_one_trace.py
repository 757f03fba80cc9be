"""One trace for one task, over real function processes, as a collector gets it: whole, linked, and without a word."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from devstack.collector import CollectedSpan, Collector, tree
from devstack.frontend import JOB, RESUME, Frontend, Reader, advertisement
from devstack.stack import Stack
from shared.routing import Lane
from shared.telemetry.instruments import INSTRUMENTS
from shared.telemetry.spans import SPANS, SpanSpec

KEY = "collector-key-of-the-tests"
USER = "ann@users.example"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def stack(build_folder: Any, collector: Collector) -> Iterator[Stack]:
    overrides = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={KEY}",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "TELEMETRY_SETTLE_MS": "300",
        "LEASE_SECONDS": "4",
    }
    with Stack(
        overrides=overrides,
        sleeping=Lane,
        build_folder=build_folder,
        first_token_ms=100,
        tokens_per_second=1500,
        qstash_time_scale=0.1,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def spans(stack: Stack, collector: Collector) -> list[CollectedSpan]:
    """The trace of an image task, whose first step took two attempts, with a reader and a caller's own trace."""
    someone = Frontend(stack, USER).with_resume()
    stack.llm.fail("status", status=503, model="glm-4.1v-thinking-flash")
    trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
    response = someone.post(
        "/actions/create-service",
        {"jobImage": advertisement(), "locale": "en"},
        traceparent=f"00-{trace_id}-{caller}-01",
    )
    accepted = response.json()
    reader = Reader(accepted["streamUrl"]).wait()
    assert reader.types[-1] == "done", reader.all[-1]

    def trace() -> list[CollectedSpan]:
        return [span for span in collector.spans if span.trace_id == trace_id]

    collector.wait_for(
        lambda: {"GET /events/{serviceId}/{taskId}", "process paid_stream"} <= {each.name for each in trace()}
    )
    found = trace()
    assert {span.parent_id for span in found} - {span.span_id for span in found} == {caller}, tree(found)
    return found


def named(spans: list[CollectedSpan], name: str) -> list[CollectedSpan]:
    return sorted((span for span in spans if span.name == name), key=lambda span: span.began_ns)


def spec_of(name: str) -> SpanSpec:
    """Return the kind of span that a name is of; `{…}` stands for anything, the bridge's address for itself."""
    for spec in reversed(SPANS):
        pattern = re.escape(spec.name).replace(r"\{", "{").replace(r"\}", "}")
        if name == spec.name or re.fullmatch(re.sub(r"\{\w+\}", r"[\\w/.-]+", pattern), name):
            return spec
    raise AssertionError(f"{name} is no span of shared/telemetry/spans.py")


def test_a_task_s_way_is_one_tree_from_the_caller_s_span_over_all_functions(
    spans: list[CollectedSpan],
) -> None:
    [action] = named(spans, "POST /actions/create-service")
    [connection] = named(spans, "GET /events/{serviceId}/{taskId}")
    [vision] = named(spans, "publish paid_vision")
    *nothing_to_do, callback = named(spans, "POST /callbacks/step")  # QStash reports the failed attempt too
    [match] = named(spans, "publish paid_stream")
    deliveries = [*named(spans, "process paid_vision"), *named(spans, "process paid_stream")]

    assert [span.parent_id for span in (vision, connection)] == [action.span_id] * 2
    assert action.attributes["sluice.task.id"] == connection.attributes["sluice.task.id"]
    assert [callback.parent_id, match.parent_id] == [vision.span_id, callback.span_id]
    assert [span.parent_id for span in deliveries] == [vision.span_id, vision.span_id, match.span_id]
    assert {each.attributes["sluice.outcome"] for each in nothing_to_do} <= {"nothing_to_do"}
    assert {span.service for span in spans} == {"actions", "paid_vision", "paid_stream", "events"}


def test_a_second_attempt_links_to_the_first_one_s_span(spans: list[CollectedSpan]) -> None:
    first, second, match = named(spans, "attempt")
    assert [span.attributes["sluice.attempt"] for span in (first, second, match)] == [1, 2, 1]
    assert [span.links for span in (first, second, match)] == [(), ((first.trace_id, first.span_id),), ()]
    assert (first.failed, first.attributes["error.type"]) == (True, "provider_error")
    assert second.attributes["sluice.outcome"] == "done"


def test_a_request_to_a_model_says_what_the_conventions_ask_for(spans: list[CollectedSpan]) -> None:
    failed, _seen, streamed = [
        *named(spans, "chat glm-4.1v-thinking-flash"),
        *named(spans, "chat deepseek-reasoner"),
    ]
    said = streamed.attributes
    assert {name: said[f"gen_ai.{name}"] for name in ("operation.name", "provider.name", "output.type")} == {
        "operation.name": "chat",
        "provider.name": "deepseek",
        "output.type": "text",
    }
    assert said["gen_ai.usage.input_tokens"] > 0
    assert said["gen_ai.usage.output_tokens"] > 0
    assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert said["sluice.time_to_first_token"] > 0
    assert failed.failed
    assert "gen_ai.usage.input_tokens" not in failed.attributes


def test_the_writes_of_an_attempt_are_one_span_with_their_sums(spans: list[CollectedSpan]) -> None:
    written = named(spans, "write events")[-1].attributes
    assert 0 < written["sluice.events.writes"] < written["sluice.events.tokens"]
    assert written["sluice.events.bytes"] > written["sluice.events.tokens"]
    assert written["sluice.events.longest_write"] > 0
    [delivery] = named(spans, "process paid_stream")
    sent = delivery.attributes["sluice.store.commands"]
    assert sent >= written["sluice.events.writes"] + 2, "the writer's thread, and claim and finish"


def test_every_span_is_one_of_the_catalogue_s_and_says_no_more_than_that(spans: list[CollectedSpan]) -> None:
    for span in spans:
        spec = spec_of(span.name)
        assert span.kind == spec.kind, span
        assert span.attributes.keys() <= {attribute.value for attribute in spec.attributes}, span
    assert {spec_of(span.name).name for span in spans} >= {spec.name for spec in SPANS if spec.name != "fail"}


def test_every_measurement_is_one_of_the_catalogue_s_and_says_no_more_than_that(
    spans: list[CollectedSpan], collector: Collector
) -> None:
    known = {each.name: each for each in INSTRUMENTS}
    for point in collector.points:
        assert point.unit == known[point.name].unit
        assert point.attributes.keys() <= {attribute.value for attribute in known[point.name].attributes}
        if point.boundaries:
            assert point.boundaries == tuple(map(float, known[point.name].boundaries))
    seen = {point.name for point in collector.points}
    assert seen >= known.keys() - {
        "sluice.sweep.tasks",
        "sluice.refunds",
        "sluice.takeovers",
        "sluice.claim.refusals",
    }


def test_nothing_that_was_sent_holds_a_user_a_text_a_token_or_a_secret(
    stack: Stack, spans: list[CollectedSpan], collector: Collector
) -> None:
    assert not any(span.said for span in spans)
    texts = [USER, KEY, *RESUME.split("\n"), *JOB.split("\n"), stack.qstash.token, "Bearer", "eyJ", "score:"]
    for body in collector.raw:
        for text in filter(None, texts):
            assert text.encode() not in body, text
    assert {headers["x-api-key"] for headers in collector.headers} == {KEY}


def test_who_asks_not_to_be_traced_is_not_in_any_function(stack: Stack, collector: Collector) -> None:
    someone, trace_id = Frontend(stack, "bea").with_resume(), secrets.token_hex(16)
    response = someone.post(
        "/actions/create-service",
        {"jobText": JOB, "locale": "en"},
        traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-00",
    )
    Reader(response.json()["streamUrl"]).wait()
    after = someone.act("upload-resume", {"text": RESUME, "locale": "en"})
    assert someone.outcome(after)["state"] == "done"

    def later_ones_came() -> bool:
        tasks = {
            span.attributes.get("sluice.task.id")
            for span in collector.spans
            if span.name == "process paid_batch"
        }
        return after["taskId"] in tasks

    collector.wait_for(later_ones_came)
    assert not [span.name for span in collector.spans if span.trace_id == trace_id]
