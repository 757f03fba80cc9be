"""The dead-letter queue: messages whose last attempt failed, or that were refused for good (489)."""

from __future__ import annotations

from dataclasses import dataclass

from devstack.qstash.delivery import Answer
from devstack.qstash.instructions import header_lists
from devstack.qstash.message import Json, Message, text_or_base64


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: str
    message: Message
    answer: Answer

    def as_json(self) -> Json:
        return (
            self.message.as_json()
            | {
                "dlqId": self.id,
                "responseStatus": self.answer.status,
                "responseHeader": header_lists(self.answer.headers),
            }
            | text_or_base64("responseBody", self.answer.body)
        )


class DeadLetters(dict[str, DeadLetter]):
    """Dead letters by id, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self._buried = 0

    def bury(self, message: Message, answer: Answer, time_ms: int) -> str:
        """Keep `message` and return its dead letter's id."""
        self._buried += 1
        dlq_id = f"{time_ms}-{self._buried}"
        self[dlq_id] = DeadLetter(dlq_id, message, answer)
        return dlq_id
