"""The main job, over HTTP, from an action to the last event, with the LLM stand-in counting what ran at once."""

from __future__ import annotations

import httpx
import pytest

from devstack.frontend import JOB, RESUME, Frontend, Reader, advertisement, assert_at_rest, text_of
from devstack.stack import Stack


@pytest.fixture
def stack(plain_stack: Stack) -> Stack:
    return plain_stack


def test_three_text_tasks_with_one_slot_run_one_after_the_other(stack: Stack, user: str) -> None:
    someone = Frontend(stack, user).with_resume()

    accepted = [someone.act("create-service", {"jobText": JOB, "locale": "en"}) for _ in range(3)]
    readers = [Reader(task["streamUrl"]).wait() for task in accepted]

    assert [reader.types[-1] for reader in readers] == ["done"] * 3
    assert stack.llm.state["peak"]["deepseek-reasoner"] == 1
    assert_at_rest(stack)


def test_d4_two_images_of_one_user_run_at_the_same_time_with_two_slots(stack: Stack, user: str) -> None:
    """D4: no lock of a user stands beside the cap of a user."""
    someone = Frontend(stack, user).with_resume()

    accepted = [
        someone.act("create-service", {"jobImage": advertisement(), "locale": "en"}) for _ in range(2)
    ]
    for task in accepted:
        Reader(task["streamUrl"]).wait()

    assert stack.llm.state["peak"]["glm-4.1v-thinking-flash"] == 2
    assert_at_rest(stack)


def test_d36_the_image_branch_is_two_steps_on_one_channel(stack: Stack, user: str) -> None:
    """D17, D36: the match starts when the advertisement has been read, and its reader changes no channel."""
    someone = Frontend(stack, user).with_resume()
    accepted = someone.act("create-service", {"jobImage": advertisement("WEBP"), "locale": "en"})
    reader = Reader(accepted["streamUrl"]).wait()

    story = [t for t in reader.types if t not in {"token_batch", "backpressure"}]
    assert story == ["queued", "start", "step_result", "queued", "start", "done"]
    assert accepted["queueId"] == "paid_vision"
    assert accepted["stream"] is True
    service = someone.get(f"/services/{accepted['serviceId']}").json()
    assert service["job"]["extractedText"]
    assert service["match"]["text"] == reader.text
    assert_at_rest(stack)


def test_d24_what_the_reader_sees_is_what_the_model_said(stack: Stack, user: str) -> None:
    """D24, D29: on the channel that the answer named, every character once, at the end as in the record."""
    someone = Frontend(stack, user).with_resume()
    accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    reader = Reader(accepted["streamUrl"]).wait()

    status = someone.status(accepted)
    assert reader.text == status["result"]["text"]
    assert reader.all[-1]["result"] == status["result"]
    assert reader.all[-1]["textLength"] == len(reader.text)
    assert isinstance(status["result"]["score"], int)
    assert reader.text.startswith(f"score: {status['result']['score']}")


def test_a_reader_that_comes_back_goes_on_where_it_was(stack: Stack, user: str) -> None:
    """D34: a reconnect neither repeats nor misses a token."""
    someone = Frontend(stack, user).with_resume()
    accepted = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    whole = Reader(accepted["streamUrl"]).wait()

    for place in range(0, len(whole.events) - 1, 3):
        resumed = Reader(accepted["streamUrl"], last_event_id=whole.events[place][0]).wait()
        assert resumed.events[-1] == whole.events[-1]
        assert text_of(whole.all[: place + 1] + resumed.all) == whole.text


def test_d7_d8_paid_and_free_tasks_take_their_own_lanes_and_limits(stack: Stack, user: str) -> None:
    """D7, D8: too little balance takes the free lane, and the worker runs what the producer decided."""
    someone = Frontend(stack, user).with_resume()
    services = [someone.act("create-service", {"jobText": JOB, "locale": "en"}) for _ in range(3)]
    for service in services:
        assert someone.outcome(service)["state"] == "done"
    for action in ("interview-tips", "customize-resume"):
        done = someone.act(action, {"serviceId": services[0]["serviceId"]})
        assert someone.outcome(done)["state"] == "done"
    assert someone.balance() == 1

    free = someone.act("create-service", {"jobText": JOB, "locale": "en"})
    free_image = someone.act("create-service", {"jobImage": advertisement("JPEG"), "locale": "zh"})

    assert (free["queueId"], free["isFree"]) == ("free_stream", True)
    assert (free_image["queueId"], free_image["isFree"]) == ("free_batch", True)
    for accepted in (free, free_image):
        outcome = someone.outcome(accepted)
        assert outcome["state"] == "done", outcome
        assert outcome["refunded"] is False
    assert someone.balance() == 1
    assert_at_rest(stack)


def test_d23_an_upload_ends_with_a_structured_result_that_stays(stack: Stack, user: str) -> None:
    """D23: the résumé is replaced when its summary is done, and read back."""
    someone = Frontend(stack, user)
    assert someone.get("/resume").json()["summary"] is None
    accepted = someone.act("upload-resume", {"text": RESUME, "locale": "en"})
    reader = Reader(accepted["streamUrl"]).wait()

    assert reader.all[-1]["type"] == "done"
    assert someone.get("/resume").json()["summary"] == reader.all[-1]["result"]
    assert reader.all[-1]["result"]["header"]["email"] == "mei.lin@example.com"
    assert someone.balance() == 11


def test_d25_d35_nobody_else_reads_a_task_or_its_stream(stack: Stack, user: str) -> None:
    """D25, D35: somebody else's task does not exist, and its stream asks for its own token."""
    owner, other = Frontend(stack, user), Frontend(stack, user + "-other")
    accepted = owner.act("upload-resume", {"text": RESUME, "locale": "en"})

    assert other.get(f"/tasks/{accepted['taskId']}").status_code == 404
    assert other.post(f"/tasks/{accepted['taskId']}/cancel").status_code == 404
    assert other.post("/actions/interview-tips", {"serviceId": accepted["serviceId"]}).status_code == 404
    assert httpx.get(accepted["streamUrl"].split("?")[0]).status_code == 401
    assert owner.outcome(accepted)["state"] == "done"
