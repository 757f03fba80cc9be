"""What every peer runs for a task: the same LangChain chain, as it comes, and a publish for each token."""

from __future__ import annotations

import json
import os
from functools import cache

import redis
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

REDIS_URL = os.environ["PEER_REDIS_URL"]
_MATERIAL = "Senior backend engineer with 8 years in payments: Python, PostgreSQL, Redis, Kafka. " * 40
_MODEL_SECONDS = 60.0


def channel(task_id: str) -> str:
    return f"stream:{task_id}"


def answer(task_id: str) -> None:
    """Ask the model and publish what it says, token by token; then that it is over."""
    publish = _redis().publish
    for text in _chain().stream({"material": _MATERIAL}):
        if text:
            publish(channel(task_id), json.dumps({"text": text}))
    publish(channel(task_id), json.dumps({"done": True}))


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(REDIS_URL)


@cache
def _chain() -> Runnable[dict[str, str], str]:
    prompt = ChatPromptTemplate(
        [("system", "You prepare a candidate for an interview."), ("human", "{material}")]
    )
    model = ChatOpenAI(
        model="deepseek-chat",
        base_url=os.environ["PEER_MODEL_URL"],
        api_key=SecretStr("bench"),
        streaming=True,
        max_retries=0,
        timeout=_MODEL_SECONDS,
    )
    return prompt | model | StrOutputParser()
