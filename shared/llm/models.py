"""What the structured templates give: one pydantic model each, camelCase on the wire, every field present.

They forgive what language models commonly do (null for "nothing", one text where a list is due, a number for
a text), so that the one repair attempt is left for answers that really are wrong. What is absent stays empty.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel


def _as_text(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_list(value: Any) -> Any:
    if isinstance(value, str | dict):
        value = [value] if value else []
    return [item for item in value if item not in (None, "")] if isinstance(value, list) else value


def _as_number(value: Any) -> Any:
    """Take "8 years" for 8: the number is the fact, the word around it is the model's habit."""
    found = re.search(r"\d+(?:\.\d+)?", value) if isinstance(value, str) else None
    if not isinstance(value, str):
        return value
    return float(found.group()) if found else None


Text = Annotated[str, BeforeValidator(_as_text)]
Texts = Annotated[list[Text], BeforeValidator(_as_list)]


class Part(BaseModel):
    """A piece of an output; null counts as absent, and absent as empty."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class Output(Part):
    """A template's whole result."""

    not_content: ClassVar[frozenset[str]] = frozenset()
    """Fields that say something about the result; alone they make no result."""

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all was found, which is an error and not a result."""
        return not any(_has_content(value) for name, value in self if name not in self.not_content)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, mode="json")


def _has_content(value: Any) -> bool:
    if isinstance(value, BaseModel):
        return any(_has_content(inner) for _, inner in value)
    if isinstance(value, list):
        return any(_has_content(item) for item in value)
    return bool(value.strip() if isinstance(value, str) else value)


class Header(Part):
    name: Text = ""
    email: Text = ""
    phone: Text = ""
    links: Texts = []


class Experience(Part):
    role: Text = ""
    company: Text = ""
    duration: Text = ""
    highlights: Texts = []
    stack: Texts = []


class Project(Part):
    name: Text = ""
    description: Text = ""
    highlights: Texts = []


class Education(Part):
    degree: Text = ""
    school: Text = ""
    duration: Text = ""


class Skills(Part):
    technical: Texts = []
    soft: Texts = []
    tools: Texts = []


class Strength(Part):
    trait: Text = ""
    evidence: Text = ""


class Profile(Part):
    persona: Text = ""
    years_of_experience: Annotated[int | float | None, BeforeValidator(_as_number)] = None
    domain_expertise: Texts = []
    core_strengths: Annotated[list[Strength], BeforeValidator(_as_list)] = []


class ResumeSummary(Output):
    header: Header = Header()
    summary: Text = ""
    experience: Annotated[list[Experience], BeforeValidator(_as_list)] = []
    projects: Annotated[list[Project], BeforeValidator(_as_list)] = []
    education: Annotated[list[Education], BeforeValidator(_as_list)] = []
    skills: Skills = Skills()
    certifications: Texts = []
    languages: Texts = []
    profile: Profile = Profile()


class Metric(Part):
    label: Text = ""
    value: Text = ""
    unit: Text = ""
    period: Text = ""


class DetailedProject(Part):
    name: Text = ""
    description: Text = ""
    task: Texts = []
    actions: Texts = []
    results: Texts = []


class DetailedExperience(Part):
    company: Text = ""
    product: Text = ""
    role: Text = ""
    duration: Text = ""
    keywords: Texts = []
    highlights: Texts = []
    metrics: Annotated[list[Metric], BeforeValidator(_as_list)] = []
    projects: Annotated[list[DetailedProject], BeforeValidator(_as_list)] = []


class Section(Part):
    title: Text = ""
    points: Texts = []


class DetailedResumeSummary(Output):
    header: Header = Header()
    summary: Text = ""
    experiences: Annotated[list[DetailedExperience], BeforeValidator(_as_list)] = []
    capabilities: Texts = []
    education: Annotated[list[Education], BeforeValidator(_as_list)] = []
    skills: Skills = Skills()
    raw_sections: Annotated[list[Section], BeforeValidator(_as_list)] = []


class JobVisionSummary(Output):
    not_content = frozenset({"language", "confidence"})

    extracted_text: Annotated[Text, Field(min_length=1)]
    language: Text = ""
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    job_title: Text = ""
    company: Text = ""
    department: Text = ""
    seniority: Text = ""
    salary_range: Text = ""
    location: Text = ""
    responsibilities: Texts = []
    must_haves: Texts = []
    nice_to_haves: Texts = []
    tech_stack: Texts = []
    education: Texts = []
    experience: Texts = []
    languages: Texts = []
    soft_skills: Texts = []
    other_requirements: Texts = []


class Suggestion(Part):
    adjustment: Text = ""
    reason: Text = ""


class Basics(Header):
    summary: Text = ""


class WorkExperience(Part):
    company: Text = ""
    position: Text = ""
    start_date: Text = ""
    end_date: Text = ""
    description: Text = ""


class ProjectExperience(Part):
    name: Text = ""
    role: Text = ""
    start_date: Text = ""
    end_date: Text = ""
    description: Text = ""


class CustomEducation(Part):
    school: Text = ""
    degree: Text = ""
    major: Text = ""
    start_date: Text = ""
    end_date: Text = ""


class CustomSection(Part):
    title: Text = ""
    content: Text = ""


class CustomResume(Part):
    basics: Basics = Basics()
    work_experiences: Annotated[list[WorkExperience], BeforeValidator(_as_list)] = []
    project_experiences: Annotated[list[ProjectExperience], BeforeValidator(_as_list)] = []
    educations: Annotated[list[CustomEducation], BeforeValidator(_as_list)] = []
    skills: Text = ""
    certificates: Text = ""
    custom_sections: Annotated[list[CustomSection], BeforeValidator(_as_list)] = []


class FactCheck(Part):
    status: Literal["verified", "needs_review"] = "needs_review"
    """`verified`: every statement has its source in the candidate's material; else the user must look."""
    notes: Texts = []


class ResumeCustomize(Output):
    not_content = frozenset({"suggestions", "fact_check"})

    suggestions: Annotated[list[Suggestion], BeforeValidator(_as_list)] = []
    resume: CustomResume = CustomResume()
    fact_check: FactCheck = FactCheck()
