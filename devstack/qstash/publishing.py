"""The calls that put messages in: publish, enqueue, batch, and the destination they name."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from devstack.qstash.broker import Broker, Receipt
from devstack.qstash.instructions import check_destination, parse_instructions
from devstack.qstash.message import Json
from devstack.qstash.wire import ApiError, Reply, Request


class Publishing:
    def __init__(self, broker: Broker, max_message_bytes: int) -> None:
        self._broker = broker
        self._max_message_bytes = max_message_bytes

    def publish(self, request: Request, destination: str) -> Reply:
        return self._put(request, destination, queue=None)

    def enqueue(self, request: Request, queue: str, destination: str) -> Reply:
        return self._put(request, destination, queue=queue)

    def batch(self, request: Request) -> Reply:
        """Take each item on its own: one that is refused carries an error, the others still go."""
        items = request.json()
        if not isinstance(items, list):
            raise ApiError(400, "a batch must be a list")
        return Reply([self._put_item(item, request.client_ip) for item in items])

    def _put(self, request: Request, destination: str, queue: str | None) -> Reply:
        url = destination_url(destination, request.destination_query)
        receipt = self._accept(url, request.config, request.body, request.client_ip, queue)
        return Reply(receipt_json(receipt), status=202 if receipt.deduplicated else 200)

    def _put_item(self, item: Any, client_ip: str) -> Json:
        try:
            headers = {name.lower(): str(value) for name, value in (item.get("headers") or {}).items()}
            body = (item.get("body") or "").encode()
            url = destination_url(item["destination"], "")
            return receipt_json(self._accept(url, headers, body, client_ip, item.get("queue")))
        except (ValueError, ApiError) as error:
            return {"error": str(error)}
        except (AttributeError, KeyError, TypeError):
            return {"error": "invalid batch item"}

    def _accept(
        self, url: str, headers: dict[str, str], body: bytes, client_ip: str, queue: str | None
    ) -> Receipt:
        if len(body) > self._max_message_bytes:
            raise ApiError(412, f"message is larger than the plan's limit of {self._max_message_bytes} bytes")
        instructions = parse_instructions(headers)
        if queue is not None:
            self._broker.queues.get_or_create(queue)
        return self._broker.publish(
            self._broker.draft(url, body, instructions, caller_ip=client_ip, queue=queue)
        )


def destination_url(destination: str, query: str) -> str:
    """Return the URL that a publish's path names: as it stands, or percent-encoded as a whole.

    Raises:
        ValueError: it is no URL.
    """
    if re.match(r"https?%3a", destination, re.IGNORECASE):
        destination = unquote(destination)
    url = check_destination(destination.partition("#")[0])
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def receipt_json(receipt: Receipt) -> Json:
    answer: Json = {"messageId": receipt.message_id}
    return answer | {"deduplicated": True} if receipt.deduplicated else answer
