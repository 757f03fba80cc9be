"""Lists come in pages, as long as MaxItems says and never longer than 50. moto returns all at once."""

from __future__ import annotations

import base64
from typing import Final

from devstack.clouds.aws.strict.calls import Answer, Call, Proceed, rule

_LISTS: Final = {
    "ListFunctions": "Functions",
    "ListVersionsByFunction": "Versions",
    "ListAliases": "Aliases",
    "ListFunctionUrlConfigs": "FunctionUrlConfigs",
}
_LONGEST: Final = 50


@rule("lambda", *_LISTS, document="Lambda API Reference, ListFunctions: Marker, MaxItems")
def paged(call: Call, proceed: Proceed) -> Answer:
    """A page has at most MaxItems items and a marker while there are more."""
    size = min(int(call.params.pop("MaxItems", _LONGEST)), _LONGEST)
    start = _start(call)
    answer = proceed()
    key = _LISTS[call.operation]
    items = answer.get(key, [])
    answer[key] = items[start : start + size]
    answer.pop("NextMarker", None)
    if start + size < len(items):
        answer["NextMarker"] = base64.b64encode(str(start + size).encode()).decode()
    return answer


def _start(call: Call) -> int:
    marker = call.params.pop("Marker", None)
    try:
        return 0 if marker is None else int(base64.b64decode(marker))
    except ValueError as error:
        raise call.refusal("InvalidParameterValueException", f"Invalid marker {marker}") from error
