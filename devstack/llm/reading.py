"""Reads a résumé or an advertisement by simple rules, so that answers are about this person."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

_WORDS = tomllib.loads(files("devstack.llm").joinpath("vocabulary.toml").read_text("utf-8"))
TECHNICAL, TOOLS, SOFT, DOMAINS = (tuple(_WORDS[name]) for name in ("technical", "tools", "soft", "domains"))

_MONTH = r"(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?\s+)?"
_DATE = rf"{_MONTH}(?:19|20)\d\d(?:[./年-]\d{{1,2}}月?)?"
RANGE = re.compile(
    rf"({_DATE})\s*(?:[-–—~至到]|to)+\s*({_DATE}|present|now|today|current|今|现在)", re.IGNORECASE
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
PHONE = re.compile(r"(?<![\d-])\+?\(?\d[\d ()-]{7,16}\d(?!\d)")
LINK = re.compile(r"(?:https?://|(?:www\.)?(?:github|linkedin|gitee)\.com/)[^\s,;|，；）)]+")
METRIC = re.compile(
    r"(?<![\w.,/])(?!(?:19|20)\d\d(?!\d))(\d[\d,.]*\d|\d)\s?"
    r"(%|[万亿]?(?:次|人|个|条|毫秒|秒|分钟|小时|天|周|个月|倍|元|家|[ ]?TPS|[ ]?QPS)|[万亿]"
    r"|(?:million |thousand |billion )?[A-Za-z]{2,}|x|k|M)(?![A-Za-z])"
)
_ROLE = re.compile(
    r"\b(?:engineer|developer|manager|director|head|lead|analyst|designer|scientist|architect|consultant"
    r"|specialist|officer|assistant|nurse|teacher|accountant|intern|coordinator|associate)\b"
    r"|(?:工程师|经理|总监|专员|主管|设计师|分析师|架构师|负责人|实习生|助理|顾问|教师|护士|会计|运营|开发)$",
    re.IGNORECASE,
)
_MARGIN = 85
"""Lines at least this long were broken at the margin, unless a sentence ends there."""
_BULLET = re.compile(r"^\s*(?:[-*•·●▪–]|\d+[.)、])\s+")
_SPLIT = re.compile(r"\s+(?:[|·—–-]|at|@)\s+|\s*[,，|｜]\s*|\t+|\s{3,}")
_HEADINGS = {
    "experience": r"(?:work |professional |employment )?(?:experience|history)|employment"
    r"|工作(?:经历|经验)|职业经历|实习经历",
    "projects": r"(?:selected |key |personal )?projects|项目(?:经历|经验)?",
    "education": r"education(?: and training)?|教育(?:背景|经历)|学历",
    "skills": r"(?:technical |core )?skills(?: and tools)?|技能|专业技能|技术栈",
    "certifications": r"certifications?|certificates|证书|资格证书",
    "languages": r"languages?|语言(?:能力)?",
    "capabilities": r"(?:core )?capabilities|能力",
    "summary": r"(?:professional |career )?(?:summary|profile|objective)|about(?: me)?"
    r"|个人简介|自我评价|个人总结",
    "must": r"what you bring|(?:you )?must[ -]haves?|(?:minimum |basic )?(?:requirements|qualifications)"
    r"|required.*|(?:任职|岗位|职位)要求|任职资格|必须.*",
    "nice": r"(?:nice[ -]to[ -]haves?|preferred.*|bonus.*|(?:a )?plus.*)|加分项|优先.*",
    "duties": r"what you(?:'ll|’ll| will) do|(?:key )?responsibilities|the role|your tasks?|duties"
    r"|(?:岗位|工作)职责|职位描述|工作内容",
}


@dataclass(frozen=True, slots=True)
class Job:
    """What an advertisement says."""

    title: str
    company: str
    location: str = ""
    salary: str = ""
    duties: list[str] = field(default_factory=list)
    musts: list[str] = field(default_factory=list)
    nices: list[str] = field(default_factory=list)
    skills: list[str] = field(default_factory=list)
    text: str = ""


def sections_of(text: str) -> dict[str, list[str]]:
    """Return the lines under each known heading; what stands before the first is under `top`."""
    sections: dict[str, list[str]] = {"top": []}
    current = "top"
    for unwrapped in unwrap(text):
        line = unwrapped.strip("# ")
        heading, rest = _heading(line)
        if heading:
            current = heading
            sections.setdefault(current, [])
        if rest:
            sections[current].append(rest)
    return sections


def unwrap(text: str) -> list[str]:
    """Return the lines of a text, blank ones left out, with those joined that were broken at the margin."""
    lines: list[str] = []
    previous = ""
    for raw in text.splitlines():
        ended = previous.endswith(tuple(".。:：;；")) or RANGE.search(previous[-40:])
        broken = len(previous) >= _MARGIN and not ended
        indented = raw.startswith("  ") and previous.strip() != ""
        if lines and raw.strip() and not is_bullet(raw) and (broken or indented):
            lines[-1] += f" {raw.strip()}"
        elif raw.strip():
            lines.append(raw.strip())
        previous = raw
    return lines


def found_in(text: str, terms: tuple[str, ...]) -> list[str]:
    """Return the terms that stand in a text as words, in the order of the vocabulary."""
    return [term for term in terms if _pattern(term).search(text)]


@cache
def _pattern(term: str) -> re.Pattern[str]:
    # A name is looked for as it is written: "go" is no language and "rest" no style of interface.
    flags = re.IGNORECASE if term.islower() else re.NOFLAG
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(term)}(?![A-Za-z0-9+#]|-to-)", flags)


def bullets(lines: list[str]) -> list[str]:
    return [_BULLET.sub("", line) for line in lines]


def is_bullet(line: str) -> bool:
    return bool(_BULLET.match(line))


def split_line(line: str) -> list[str]:
    """Split "Engineer | Acme, 2019–2023" at its separators, without the dates."""
    bare = re.sub(r"[(（]\s*[)）]", "", RANGE.sub("", line)).strip(" |,，·—–-.。\t")
    parts = [part.strip() for part in _SPLIT.split(bare) if part and part.strip()]
    return re.split(r"(?<=[一-鿿）)])\s+(?=[一-鿿])", parts[0]) if len(parts) == 1 else parts


def is_role(text: str) -> bool:
    """Tell whether a text reads like the title of a position, and not like an employer's name."""
    return _ROLE.search(text) is not None


def read_job(material: str) -> Job:
    """Read an advertisement: a text, or the vision step's object."""
    found = as_object(material)
    if found is None:
        return _job_from_text(material)
    text = json.dumps(found, ensure_ascii=False)
    return Job(
        title=found.get("jobTitle", ""),
        company=found.get("company", ""),
        location=found.get("location", ""),
        salary=found.get("salaryRange", ""),
        duties=list(found.get("responsibilities", [])),
        musts=list(found.get("mustHaves", [])),
        nices=list(found.get("niceToHaves", [])),
        skills=list(found.get("techStack", [])) or found_in(text, TECHNICAL + TOOLS),
        text=found.get("extractedText", text),
    )


def as_object(material: str) -> dict[str, Any] | None:
    """Return the object that a material holds; None when it is plain text."""
    try:
        value = json.loads(material)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _heading(line: str) -> tuple[str | None, str]:
    """Recognise "Skills", "**Skills:**" and "Skills: Python, Go"; return the heading and what follows it."""
    bare = line.strip("*#【】[]= ")
    for name, pattern in _HEADINGS.items():
        match = re.fullmatch(rf"({pattern})\s*(?:[:：]\s*(.*))?", bare, re.IGNORECASE)
        if match and len(match.group(1)) <= 40:
            return name, match.group(match.lastindex or 1) if match.lastindex == 2 else ""
    return None, line


def _job_from_text(text: str) -> Job:
    sections = sections_of(text)
    top = sections["top"] or [""]
    title = _labelled(text, "job title|title|position|role|职位|岗位|职位名称") or split_line(top[0])[0:1]
    company = _labelled(text, "company|employer|公司|公司名称") or _company(top)
    return Job(
        title=title if isinstance(title, str) else "".join(title),
        company=company,
        location=_labelled(text, "location|based in|工作地点|地点"),
        salary=_labelled(text, "salary|compensation|pay|薪资|薪酬|月薪"),
        duties=bullets(sections.get("duties", [])),
        musts=bullets(sections.get("must", [])),
        nices=bullets(sections.get("nice", [])),
        skills=found_in(text, TECHNICAL + TOOLS),
        text=text,
    )


def _labelled(text: str, labels: str) -> str:
    match = re.search(rf"^\W*(?:{labels})\W*[:：]\s*(.+)$", text, re.IGNORECASE | re.MULTILINE)
    return match.group(1).strip(" *") if match else ""


def _company(top: list[str]) -> str:
    first = split_line(top[0]) if top else []
    if len(first) > 1:
        return first[1]
    return split_line(top[1])[0] if len(top) > 1 and len(top[1]) < 40 and split_line(top[1]) else ""
