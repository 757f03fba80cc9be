"""The LLM stand-in: a provider for our four models, with a pace, counters and faults on demand."""

from devstack.llm.standin import LlmStandIn

__all__ = ["LlmStandIn"]
