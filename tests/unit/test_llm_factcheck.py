"""A customised résumé claims what the material shows, whatever the model says of itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.llm.evidence import Material
from shared.llm.factcheck import check_customized
from shared.llm.models import ResumeCustomize

RESUME: dict[str, Any] = {
    "header": {"name": "Mara Lindqvist", "email": "mara@example.com", "phone": "", "links": []},
    "experience": [
        {
            "role": "Senior Backend Engineer",
            "company": "Northwind Payments",
            "duration": "March 2021 to present",
            "highlights": ["Booked 3,200,000 transactions a day (Kafka, PostgreSQL), cost down by 38 %."],
        },
        {"role": "Engineer", "company": "Harbor Freight", "duration": "2017 – 2021", "highlights": []},
    ],
    "education": [{"degree": "BSc", "school": "University of Leeds", "duration": "2013 – 2017"}],
    "skills": {"technical": ["Python", "C++", "event streaming"], "soft": [], "tools": ["Redis"]},
    "profile": {"yearsOfExperience": 11},
}
DETAILED: dict[str, Any] = {
    "header": {"name": "M. L.", "phone": "+44 20 7946 0958", "links": ["github.com/mara"]},
    "capabilities": ["gRPC"],
}
JOB = """Platform Engineer (Payments)
Company: Brightwater
Location: London

You must have
- Hands-on experience with Kafka, Rust
- Kubernetes in production
"""
HONEST: dict[str, Any] = {
    "basics": {
        "summary": "Backend engineer with 11 years of experience, for Brightwater as Platform Engineer."
    },
    "workExperiences": [
        {
            "company": "Northwind Payments",
            "position": "Senior Backend Engineer",
            "startDate": "2021-03",
            "endDate": "present",
            "description": "- Booked 3,200,000 transactions a day with Kafka.\n- Cut cost by 38%.",
        },
        {"company": "Harbor Freight", "position": "Engineer", "startDate": "2017", "endDate": "2021"},
    ],
    "educations": [
        {"school": "University of Leeds", "degree": "BSc", "startDate": "2013", "endDate": "2017"}
    ],
    "skills": "Python, C++, Redis",
}


def checked(
    resume: dict[str, Any], locale: str = "en", status: str = "verified", job: Any = JOB
) -> ResumeCustomize:
    output = ResumeCustomize.model_validate({"resume": resume, "factCheck": {"status": status}})
    check_customized(output, {"resume": RESUME, "detailed": DETAILED, "job": job}, locale)
    return output


def changed(path: str, value: str) -> dict[str, Any]:
    """Return the honest résumé with one field changed."""
    resume = copy.deepcopy(HONEST)
    *parents, field = path.split(".")
    part: Any = resume
    for name in parents:
        part = part[int(name)] if name.isdigit() else part[name]
    part[field] = value
    return resume


def test_name_and_contact_are_copied_and_never_the_model_s() -> None:
    invented = {"name": "Mara L. PhD", "email": "m@x.org", "phone": "555", "links": ["evil.example"]}
    basics = checked(HONEST | {"basics": invented}).resume.basics
    assert (basics.name, basics.email) == ("Mara Lindqvist", "mara@example.com")
    assert (basics.phone, basics.links) == ("+44 20 7946 0958", ["github.com/mara"])


def test_a_resume_of_facts_stays_as_the_model_judged_it() -> None:
    assert checked(HONEST).fact_check.status == "verified"
    assert checked(HONEST).fact_check.notes == []
    assert checked(HONEST, status="needs_review").fact_check.status == "needs_review"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("skills", "Python, Rust, Redis", "Rust"),
        ("skills", "Python, Java, Redis", "Java"),
        ("basics.summary", "Engineer who runs Kubernetes every day.", "Kubernetes"),
        ("workExperiences.0.description", "- Moved bookings to Kafka on Kubernetes.", "Kubernetes"),
        ("workExperiences.0.description", "- Rust services for 38 % less.", "Rust"),
        ("workExperiences.0.company", "Southwind Bank", "Southwind Bank"),
        ("workExperiences.0.position", "Chief Technology Officer", "Chief Technology Officer"),
        ("workExperiences.1.startDate", "2015", "2015"),
        ("workExperiences.0.description", "- Cut cost by 83%.", "83"),
        ("basics.summary", "Engineer with 15 years of experience.", "15"),
        ("educations.0.school", "University of Oxford", "University of Oxford"),
        ("educations.0.endDate", "2016", "2016"),
    ],
)
@pytest.mark.parametrize(
    ("locale", "words"), [("en", "Your material|your material|The job"), ("zh", "你的材料")]
)
def test_what_the_material_does_not_show_is_put_before_the_user(
    path: str, value: str, named: str, locale: str, words: str
) -> None:
    fact_check = checked(changed(path, value), locale).fact_check
    assert fact_check.status == "needs_review"
    assert named in " ".join(fact_check.notes)
    assert any(word in fact_check.notes[0] for word in words.split("|"))


def test_a_note_names_what_is_wrong_and_not_what_is_right() -> None:
    [note] = checked(changed("skills", "Python, Rust, Redis")).fact_check.notes
    assert "Python" not in note
    assert "Redis" not in note


def test_a_position_that_was_left_out_is_named() -> None:
    fact_check = checked(HONEST | {"workExperiences": HONEST["workExperiences"][:1]}).fact_check
    assert fact_check.status == "needs_review"
    assert "Harbor Freight" in fact_check.notes[0]


def test_the_advertisement_s_company_and_title_are_no_claim() -> None:
    vision = {"jobTitle": "Cloud Engineer", "company": "Brightwater", "techStack": ["Rust"], "mustHaves": []}
    good = changed("basics.summary", "Ready to be the next Cloud Engineer at Brightwater.")
    bad = changed("basics.summary", "Ready to write Rust at Brightwater.")
    assert checked(good, job=vision).fact_check.notes == []
    assert "Rust" in checked(bad, job=vision).fact_check.notes[0]


@pytest.mark.parametrize(
    ("skills", "unknown"),
    [
        ("", []),
        ("Python、Redis；Rust", ["Rust"]),
        ("- **Languages:** Python, C++\n- **Tools:** Redis, Kafka (basic), Helm", ["Helm"]),
        ("技术：Python、gRPC", []),
        ("Rust, Rust", ["Rust"]),
        ("PYTHON | redis", []),
        ("Streaming of events", []),
        ("Python development", []),
        ("C", ["C"]),
        ("C#", ["C#"]),
        ("Red", ["Red"]),
        ("分布式系统", []),
    ],
)
def test_skills_are_found_in_whatever_way_they_are_listed(skills: str, unknown: list[str]) -> None:
    notes = checked(changed("skills", skills)).fact_check.notes
    assert [note.split(": ")[1].rstrip(".").split(", ") for note in notes] == ([unknown] if unknown else [])


@pytest.mark.parametrize(
    ("term", "shown"),
    [
        ("分布式系统", True),
        ("分布式系统设计", True),
        ("消息队列", False),
        ("Go", True),
        ("MongoDB", False),
        ("event streaming", True),
    ],
)
def test_chinese_skills_are_found_by_their_parts_and_english_phrases_are_not_compared(
    term: str, shown: bool
) -> None:
    assert (
        Material({"技能": ["分布式系统", "Go", "高并发"], "x": "负责订单中心的稳定性建设"}).shows_term(term)
        == shown
    )


@pytest.mark.parametrize(("term", "shown"), [("Go", False), ("go-to-market", True), ("market", True)])
def test_a_word_with_hyphens_shows_its_long_words_alone(term: str, shown: bool) -> None:
    assert Material("Planned the go-to-market of two products").shows_term(term) == shown


def test_the_names_of_fields_are_no_material() -> None:
    assert not Material({"Kubernetes": ["yes"]}).shows_term("Kubernetes")


def test_numbers_are_read_in_chinese_sentences_too() -> None:
    material = Material("超时率由2.1%降至0.08%，支撑30个业务方，日均8,000万次请求，P99低于30毫秒")
    assert material.unknown_numbers("超时率降至0.08%，支撑30个业务方，日均8000万次") == []
    assert material.unknown_numbers("超时率降至0.8%，支撑300个业务方") == ["0.8", "300"]


def test_a_title_in_another_language_than_the_material_is_a_translation() -> None:
    fact_check = checked(changed("workExperiences.0.position", "高级后端工程师"), "zh").fact_check
    assert fact_check.notes == []


def test_a_missing_history_is_no_obstacle() -> None:
    output = ResumeCustomize.model_validate({"resume": HONEST | {"skills": "Python, gRPC"}})
    check_customized(output, {"resume": RESUME, "detailed": None, "job": JOB}, "en")
    assert "gRPC" in output.fact_check.notes[0]
