"""What the structured templates give: one pydantic model each, camelCase on the wire, every field present.

The sentence below a field is its description in the JSON schema that a model is given, where it takes one.
What is absent stays empty: "" or []. What a field forgives is in fields.py.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from shared.llm.fields import Links, Markdown, Number, Several, Share, Terms, Text, Texts, has_content

MAX_SUGGESTIONS = 5


class Part(BaseModel):
    """A piece of an output; null counts as absent, and absent as empty."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", use_attribute_docstrings=True
    )

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
        return not any(has_content(value) for name, value in self if name not in self.not_content)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, mode="json")


class Header(Part):
    """Who the candidate is and how to reach them."""

    name: Text = ""
    """The candidate's name, exactly as written."""
    email: Text = ""
    """The e-mail address, exactly as written."""
    phone: Text = ""
    """The telephone number, exactly as written."""
    links: Links = []
    """Addresses of profiles and pages: GitHub, LinkedIn, a portfolio."""


class Experience(Part):
    """One position."""

    role: Text = ""
    """The title of the position."""
    company: Text = ""
    """The employer's name, as it is."""
    duration: Text = ""
    """From when to when, as written."""
    highlights: Texts = []
    """What the candidate did and achieved there, in their words, with every number."""
    stack: Terms = []
    """Technologies named for this position."""


class Project(Part):
    """Something that the résumé presents as a project."""

    name: Text = ""
    """The project's name, as it is."""
    description: Text = ""
    """What it is, in a sentence."""
    highlights: Texts = []
    """What the candidate did and achieved in it."""


class Education(Part):
    """One degree or course of study."""

    degree: Text = ""
    """Degree and subject."""
    school: Text = ""
    """The school's name, as it is."""
    duration: Text = ""
    """From when to when, or the year, as written."""


class Skills(Part):
    """What the candidate names as skills."""

    technical: Terms = []
    """Programming languages, frameworks and methods."""
    soft: Terms = []
    """Abilities with people, only when named."""
    tools: Terms = []
    """Products, platforms and tools."""


class Strength(Part):
    """Something the candidate is notably good at."""

    trait: Text = ""
    """The strength, in a few words."""
    evidence: Text = ""
    """The place in the material that shows it."""


class Profile(Part):
    """Who this is professionally, drawn from the rest of the summary."""

    persona: Text = ""
    """One sentence: who this is professionally."""
    years_of_experience: Number = None
    """Years of work from the dates up to today, overlaps counted once; null without dates."""
    domain_expertise: Terms = []
    """Industries and subjects the candidate knows from work."""
    core_strengths: Several[Strength] = []
    """Strengths that the material shows."""


class ResumeSummary(Output):
    """A résumé, extracted and not rewritten."""

    not_content = frozenset({"profile"})

    header: Header = Header()
    """Name and contact."""
    summary: Text = ""
    """The candidate's own summary; without one, two or three sentences of facts."""
    experience: Several[Experience] = []
    """Positions, newest first."""
    projects: Several[Project] = []
    """Projects, as far as the résumé presents them as such."""
    education: Several[Education] = []
    """Degrees, newest first."""
    skills: Skills = Skills()
    """Skills by kind."""
    certifications: Texts = []
    """Certificates, as written, one each."""
    languages: Texts = []
    """Spoken languages with their level."""
    profile: Profile = Profile()
    """What the rest amounts to."""


class Metric(Part):
    """One number that means something."""

    label: Text = ""
    """What is measured."""
    value: Text = ""
    """The number exactly as written."""
    unit: Text = ""
    """Its unit, as written."""
    period: Text = ""
    """The time it covers, as far as it is given."""


class DetailedProject(Part):
    """A project inside a position, told so that a STAR story can be made of it."""

    name: Text = ""
    """The project's name, as it is."""
    description: Text = ""
    """What it is, in a sentence."""
    task: Texts = []
    """The situation and the goal."""
    actions: Texts = []
    """What the candidate did."""
    results: Texts = []
    """What came of it, with every number."""


class DetailedExperience(Part):
    """One position at one product."""

    company: Text = ""
    """The employer's name, as it is."""
    product: Text = ""
    """What was built or run, as it is named."""
    role: Text = ""
    """The title of the position."""
    duration: Text = ""
    """From when to when, as written."""
    keywords: Terms = []
    """Technologies and subjects named there."""
    highlights: Texts = []
    """Achievements in the candidate's words that belong to no project."""
    metrics: Several[Metric] = []
    """Every number with a meaning, one entry each."""
    projects: Several[DetailedProject] = []
    """Projects of this position."""


class Section(Part):
    """Something that has no field of its own."""

    title: Text = ""
    """The section's own title."""
    points: Texts = []
    """Its content, one point each."""


class DetailedResumeSummary(Output):
    """A detailed career history, ordered so that later steps can quote from it."""

    header: Header = Header()
    """Name and contact, as far as the history gives them."""
    summary: Text = ""
    """Two or three sentences of facts on the whole career."""
    experiences: Several[DetailedExperience] = []
    """Positions and products, newest first."""
    capabilities: Texts = []
    """Abilities that the history demonstrates, each short."""
    education: Several[Education] = []
    """Degrees, newest first."""
    skills: Skills = Skills()
    """Skills by kind."""
    raw_sections: Several[Section] = []
    """What fits nowhere else: patents, talks, awards, volunteering."""


class JobVisionSummary(Output):
    """A job advertisement, read from an image."""

    not_content = frozenset({"language", "confidence"})

    extracted_text: Annotated[Text, Field(min_length=1)]
    """All legible text of the image, line by line, in its own language."""
    language: Text = ""
    """The advertisement's language: en, zh, …"""
    confidence: Annotated[Share, Field(ge=0, le=1)] = 0.0
    """How sure the reading is, from 0 to 1."""
    job_title: Text = ""
    """The position's title."""
    company: Text = ""
    """The employer's name, as it is."""
    department: Text = ""
    """Department or team."""
    seniority: Text = ""
    """Level: junior, senior, lead, …"""
    salary_range: Text = ""
    """The pay as written."""
    location: Text = ""
    """The place of work, with what is said of remote work."""
    responsibilities: Texts = []
    """What the person will do."""
    must_haves: Texts = []
    """Requirements, also those not marked as either."""
    nice_to_haves: Texts = []
    """What is preferred or a plus, and no requirement."""
    tech_stack: Terms = []
    """Technologies named anywhere, once each."""
    education: Texts = []
    """Requirements of degrees and subjects."""
    experience: Texts = []
    """Requirements of years and kinds of experience."""
    languages: Texts = []
    """Requirements of spoken languages."""
    soft_skills: Texts = []
    """Abilities with people that are asked for."""
    other_requirements: Texts = []
    """What fits nowhere else: travel, shifts, permits."""


class Suggestion(Part):
    """One change to the résumé, explained."""

    adjustment: Text = ""
    """What was changed and where."""
    reason: Text = ""
    """The requirement or weakness that it answers."""


class Basics(Header):
    """The head of the customised résumé."""

    summary: Markdown = ""
    """Three or four sentences for this job, made of facts."""


class WorkExperience(Part):
    """One position of the customised résumé."""

    company: Text = ""
    """The employer's name, as in the material."""
    position: Text = ""
    """The title, as in the material."""
    start_date: Text = ""
    """The beginning, as written."""
    end_date: Text = ""
    """The end, as written."""
    description: Markdown = ""
    """One Markdown bullet for each achievement."""


class ProjectExperience(Part):
    """One project of the customised résumé."""

    name: Text = ""
    """The project's name, as in the material."""
    role: Text = ""
    """The candidate's part in it, as far as the material says."""
    start_date: Text = ""
    """The beginning, as written."""
    end_date: Text = ""
    """The end, as written."""
    description: Markdown = ""
    """One Markdown bullet for each point."""


class CustomEducation(Part):
    """One degree of the customised résumé."""

    school: Text = ""
    """The school's name, as in the material."""
    degree: Text = ""
    """The degree, as in the material."""
    major: Text = ""
    """The subject."""
    start_date: Text = ""
    """The beginning, as written."""
    end_date: Text = ""
    """The end, as written."""


class CustomSection(Part):
    """A further section of the customised résumé."""

    title: Text = ""
    """The section's title."""
    content: Markdown = ""
    """Its content, in Markdown."""


class CustomResume(Part):
    """The résumé, tailored to one job."""

    basics: Basics = Basics()
    """Name and contact, copied, and the summary for this job."""
    work_experiences: Several[WorkExperience] = []
    """All positions, newest first."""
    project_experiences: Several[ProjectExperience] = []
    """Projects, those that serve the job first."""
    educations: Several[CustomEducation] = []
    """Degrees, newest first."""
    skills: Markdown = ""
    """Skills that the material shows, grouped on lines, the job's terms first."""
    certificates: Markdown = ""
    """Certificates, one a line."""
    custom_sections: Several[CustomSection] = []
    """What else of the material serves this job."""


def _as_status(value: Any) -> Any:
    """Take "Verified" for `verified`, and whatever else a model says for "the user must look"."""
    return "verified" if isinstance(value, str) and value.strip().casefold() == "verified" else "needs_review"


class FactCheck(Part):
    """Whether the résumé claims only what the material shows."""

    status: Annotated[Literal["verified", "needs_review"], BeforeValidator(_as_status)] = "needs_review"
    """`verified`: every statement has its source in the candidate's material; else the user must look."""
    notes: Texts = []
    """What the user should check, and requirements left out because the material does not show them."""


def _first_suggestions(suggestions: list[Suggestion]) -> list[Suggestion]:
    return suggestions[:MAX_SUGGESTIONS]


class ResumeCustomize(Output):
    """A résumé tailored to one job, and what was changed.

    Three to five suggestions are asked for. More are cut off; fewer are no reason to lose a good résumé.
    """

    suggestions: Annotated[Several[Suggestion], AfterValidator(_first_suggestions)] = []
    """The three to five most useful changes."""
    resume: CustomResume = CustomResume()
    """The tailored résumé."""
    fact_check: FactCheck = FactCheck()
    """The résumé held against the material."""

    @property
    def is_empty(self) -> bool:
        """Tell whether the résumé says nothing beyond who the candidate is."""
        return not any(has_content(value) for name, value in self.resume if name != "basics")
