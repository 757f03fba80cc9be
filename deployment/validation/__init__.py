"""Whether the files below `infra/` make sense: the rules across catalogue and environment.

    catalogue + environment ─▶ rights     nobody is handed, or may do, what is not theirs
                               values     nothing of development, no secret, no blank in an environment's file
                               limits     nothing beyond what the provider allows, or too little to work with
                               starts     every function would start with what it is given

Pure: asked before anything is called, and calls nothing. All problems are found at once; each names file,
table and key.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployment.catalogue import FunctionSpec
from deployment.environments import Environment
from deployment.problems import FilesRefused, Problem
from deployment.validation import limits, rights, starts, values
from deployment.validation.subject import Subject

__all__ = ["check", "refuse_problems"]


def check(catalogue: Mapping[str, FunctionSpec], environment: Environment) -> list[Problem]:
    """Return all that is wrong with deploying `catalogue` to `environment`; empty when nothing is."""
    subject = Subject(catalogue, environment)
    found = [*rights.problems(subject), *values.problems(subject)]
    found += [*limits.problems(subject), *starts.problems(subject)]
    unfilled = {(problem.table, problem.key) for problem in values.unfilled(subject)}
    blanks = [each for each in found if each.text.startswith(values.TO_FILL_IN)]
    rest = [each for each in found if (each.table, each.key) not in unfilled]
    return list(dict.fromkeys(blanks + rest))


def refuse_problems(catalogue: Mapping[str, FunctionSpec], environment: Environment) -> None:
    """Return when nothing is wrong.

    Raises:
        FilesRefused: something is; its text names every problem, one a line.
    """
    if problems := check(catalogue, environment):
        raise FilesRefused(problems)
