"""What the stand-in reads off any image of an advertisement: it cannot see, so it always sees this one."""

from __future__ import annotations

from typing import Any

_EN = {
    "jobTitle": "Senior Backend Engineer",
    "company": "Nordlicht Mobility",
    "department": "Platform",
    "seniority": "Senior",
    "salaryRange": "EUR 75,000–90,000",
    "location": "Hamburg, hybrid",
    "responsibilities": [
        "Build and run the services behind our booking platform",
        "Own reliability: service levels, alerts, post-mortems",
        "Mentor two junior engineers",
    ],
    "mustHaves": [
        "5 years of backend development",
        "Python or Go in production",
        "PostgreSQL and Redis",
        "Experience with distributed systems",
    ],
    "niceToHaves": ["Kubernetes", "Kafka", "German at B1 level"],
    "techStack": ["Python", "Go", "PostgreSQL", "Redis", "Kubernetes", "Kafka"],
    "education": ["Degree in computer science or equivalent experience"],
    "experience": ["5 years of backend development"],
    "languages": ["English"],
    "softSkills": ["communication", "ownership"],
    "otherRequirements": ["On call one week in six"],
}
_ZH = {
    "jobTitle": "高级后端工程师",
    "company": "北辰出行",
    "department": "平台研发部",
    "seniority": "高级",
    "salaryRange": "35–50K·15薪",
    "location": "上海·徐汇",
    "responsibilities": [
        "负责预订平台后端服务的设计与开发",
        "负责服务稳定性：指标、告警与复盘",
        "指导两名初级工程师",
    ],
    "mustHaves": [
        "五年以上后端开发经验",
        "熟练使用 Python 或 Go",
        "熟悉 PostgreSQL 与 Redis",
        "有分布式系统实践经验",
    ],
    "niceToHaves": ["有 Kubernetes 经验者优先", "熟悉 Kafka 者优先"],
    "techStack": ["Python", "Go", "PostgreSQL", "Redis", "Kubernetes", "Kafka"],
    "education": ["计算机相关专业本科及以上"],
    "experience": ["五年以上后端开发经验"],
    "languages": ["英语可作为工作语言"],
    "softSkills": ["沟通", "责任心"],
    "otherRequirements": ["需参与轮值"],
}


def seen_advert(locale: str) -> dict[str, Any]:
    """Return the object of `job_vision_summary`."""
    advert: dict[str, Any] = dict(_ZH if locale == "zh" else _EN)
    lines = [advert["jobTitle"], f"{advert['company']} · {advert['location']} · {advert['salaryRange']}"]
    for name in ("responsibilities", "mustHaves", "niceToHaves", "otherRequirements"):
        lines += [f"- {item}" for item in advert[name]]
    return {"extractedText": "\n".join(lines), "language": locale, "confidence": 0.93, **advert}
