"""The stand-in's transcript: every line of a streamed answer says which call it is of."""

from __future__ import annotations

from devstack.llm.transcript import Call, Transcript, stamps

ANSWER = "score: 70\n\n## Overall\nYou fit.\nMostly."


def _call(task: str | None, number: int = 7) -> Call:
    return Call(number, "key", "deepseek-chat", task, frozenset())


def test_each_line_of_a_streamed_answer_carries_its_calls_number_and_the_score_line_stays() -> None:
    stamped = _call("job_match").stamped(ANSWER)
    assert stamped == "score: 70\n\n## Overall ⟨7⟩\nYou fit. ⟨7⟩\nMostly. ⟨7⟩"
    assert stamps(stamped) == {7}


def test_a_text_put_together_from_two_calls_shows_both_numbers() -> None:
    first, second = (_call("interview_prep", number).stamped(ANSWER) for number in (7, 8))
    assert stamps(first[:30] + second[30:]) == {7, 8}


def test_a_structured_answer_is_left_as_it_is() -> None:
    assert _call("resume_summary").stamped('{"a":\n1}') == '{"a":\n1}'


def test_only_what_was_said_is_kept_and_thoughts_are_not() -> None:
    call = _call("job_match")
    call.note([("reasoning_content", "hm"), ("content", "a"), ("content", "b")])
    assert call.said == "ab"


def test_nothing_is_kept_until_the_transcript_is_asked_for() -> None:
    transcript = Transcript()
    transcript.add(_call(None))
    transcript.on = True
    transcript.add(_call("job_match"))
    assert [call.task for call in transcript.calls] == ["job_match"]
