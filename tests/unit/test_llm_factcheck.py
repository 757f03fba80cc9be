"""A customised résumé claims what the material shows, whatever the model says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from shared.llm.factcheck import check_customized, unknown_skills
from shared.llm.models import ResumeCustomize

RESUME = {
    "header": {"name": "Mara Lindqvist", "email": "mara@example.com", "phone": "", "links": []},
    "skills": {"technical": ["Python", "C++"], "soft": [], "tools": ["Redis"]},
}
DETAILED = {
    "header": {"name": "M. L.", "phone": "+44 20 7946 0958", "links": ["github.com/mara"]},
    "capabilities": ["gRPC"],
}


def checked(resume: dict[str, Any], locale: str = "en", status: str = "verified") -> ResumeCustomize:
    output = ResumeCustomize.model_validate({"resume": resume, "factCheck": {"status": status}})
    check_customized(output, {"resume": RESUME, "detailed": DETAILED}, locale)
    return output


def test_name_and_contact_are_copied_and_never_the_model_s() -> None:
    invented = {"name": "Mara L. PhD", "email": "m@x.org", "phone": "555", "links": ["evil.example"]}
    basics = checked({"basics": invented}).resume.basics
    assert (basics.name, basics.email) == ("Mara Lindqvist", "mara@example.com")
    assert (basics.phone, basics.links) == ("+44 20 7946 0958", ["github.com/mara"])


@pytest.mark.parametrize(("locale", "word"), [("en", "check"), ("zh", "核对")])
def test_a_skill_that_the_material_lacks_is_never_verified(locale: str, word: str) -> None:
    fact_check = checked({"skills": "Python, Rust, Redis"}, locale).fact_check
    assert fact_check.status == "needs_review"
    assert "Rust" in fact_check.notes[-1]
    assert "Python" not in fact_check.notes[-1]
    assert word in fact_check.notes[-1]


def test_a_resume_of_facts_stays_as_the_model_judged_it() -> None:
    assert checked({"skills": "Python"}).fact_check.status == "verified"
    assert checked({"skills": "Python"}, status="needs_review").fact_check.status == "needs_review"


@pytest.mark.parametrize(
    ("skills", "unknown"),
    [
        ("", []),
        ("Python、Redis；Rust", ["Rust"]),
        ("- **Languages:** Python, C++\n- **Tools:** Redis, Kafka (basic)", ["Kafka"]),
        ("技术：Python、gRPC", []),
        ("Rust, rust", ["Rust", "rust"]),
        ("PYTHON | redis", []),
    ],
)
def test_skills_are_found_in_whatever_way_they_are_listed(skills: str, unknown: list[str]) -> None:
    assert unknown_skills(skills, {"resume": RESUME, "detailed": DETAILED}) == unknown


def test_a_missing_history_is_no_obstacle() -> None:
    assert unknown_skills("Python, gRPC", {"resume": RESUME, "detailed": None}) == ["gRPC"]
