"""The ways to read a model's streamed answer that are compared, each on the same bytes of one provider.

sluice   the lane's own: prompt | ProviderChat | reader, into the merging writer on a real Valkey
lcel     prompt | ChatOpenAI | StrOutputParser, as they come, the text thrown away
sdk      the openai package's stream, the text thrown away
raw      http.client and orjson: what any Python at all costs
"""

from __future__ import annotations

import datetime as dt
import http.client
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import openai
import orjson
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from shared.config import JsonMode, ProviderSettings, StreamSettings
from shared.llm.prompts import TemplateCall, fill, load_prompt
from shared.llm.runner import StopSignal, run_template
from shared.routing import Model, Template
from shared.state.store import Store
from shared.stream.publisher import AttemptWriter

Reading = Callable[[str], int]
"""Reads the answer below that base URL to its end; returns its characters."""
CALL = TemplateCall(
    Template.INTERVIEW_PREP,
    Model.DEEPSEEK_CHAT,
    "en",
    {
        "job": "Platform Engineer at Brightwater: Python, Kafka, Redis.",
        "match": "score: 80\n\nA good match.",
        "customized": None,
        "resume": {"header": {"name": "Mara Lindqvist"}, "skills": {"technical": ["Python", "Kafka"]}},
        "detailed": None,
    },
    dt.date(2026, 11, 27),
)
STREAM = StreamSettings(
    flush_interval_ms=100,
    flush_size=64,
    ttl_seconds=86_400,
    maxlen=10_000,
    heartbeat_seconds=15,
    max_connection_seconds=840,
)
IDLE_SECONDS = 30.0
STREAM_EXPIRY_SECONDS = 60


def readings(store: Store) -> Mapping[str, Reading]:
    """Return each way by its name; the lane's writes to `store`."""
    return MappingProxyType(
        {"sluice": lambda base_url: _sluice(store, base_url), "lcel": _lcel, "sdk": _sdk, "raw": _raw}
    )


def _sluice(store: Store, base_url: str) -> int:
    epoch_ms = time.time_ns() // 1_000_000
    key = f"cs:events:user:service:{uuid.uuid4().hex}"
    store.command("XADD", key, f"{epoch_ms}-0", "e", "{}")
    store.command("EXPIRE", key, STREAM_EXPIRY_SECONDS)
    with AttemptWriter(
        store, key, task_id="task", step=0, attempt=1, epoch_ms=epoch_ms, settings=STREAM
    ) as writer:
        run_template(
            CALL,
            provider=ProviderSettings(base_url, "bench", JsonMode.OBJECT),
            stop=StopSignal(),
            on_text=writer.token,
            on_thinking=lambda: None,
            idle_seconds=IDLE_SECONDS,
        )
        writer.drain()
        return writer.text_length


def _lcel(base_url: str) -> int:
    chat = ChatOpenAI(
        model=CALL.model, api_key=lambda: "bench", base_url=base_url, max_retries=0, stream_usage=True
    )
    prompt = load_prompt(CALL.template, CALL.locale)
    chain = ChatPromptTemplate([("system", prompt.system), ("human", prompt.user)]) | chat | StrOutputParser()
    return sum(map(len, chain.stream(fill(CALL))))


def _sdk(base_url: str) -> int:
    with openai.OpenAI(api_key="bench", base_url=base_url, max_retries=0) as client:
        chunks = client.chat.completions.create(model=CALL.model, messages=_messages(), stream=True)
        return sum(len(chunk.choices[0].delta.content or "") for chunk in chunks if chunk.choices)


def _raw(base_url: str) -> int:
    url, length = urlsplit(base_url), 0
    body = orjson.dumps({"model": CALL.model, "messages": _messages(), "stream": True})
    with closing(http.client.HTTPConnection(url.netloc)) as connection:
        connection.request("POST", f"{url.path}/chat/completions", body)
        answer = connection.getresponse()
        while (line := answer.readline()) != b"data: [DONE]\n":
            if line.startswith(b"data:"):
                length += len(orjson.loads(line[5:])["choices"][0]["delta"]["content"])
    return length


def _messages() -> Any:
    values, prompt = fill(CALL), load_prompt(CALL.template, CALL.locale)
    return [
        {"role": "system", "content": prompt.system.format_map(values)},
        {"role": "user", "content": prompt.user.format_map(values)},
    ]
