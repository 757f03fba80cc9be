"""`Upstash-Retry-Delay`: a small arithmetic expression over `retried`, in milliseconds.

Read with Python's own parser and evaluated over an allow-list of nodes, never with `eval`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "pow": math.pow, "sqrt": math.sqrt, "abs": abs, "exp": math.exp, "floor": math.floor,
    "ceil": math.ceil, "round": round, "min": min, "max": max,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}  # fmt: skip
LONGEST_MS = 365 * 86_400_000.0


def evaluate_ms(expression: str, retried: int) -> float:
    """Return the delay before the next delivery; `retried` is 0 after the first. Capped at a year.

    Raises:
        ValueError: it is not such an expression.
    """
    try:
        delay_ms = _value(ast.parse(expression.strip(), mode="eval").body, retried)
    except OverflowError:
        return LONGEST_MS
    except (SyntaxError, ArithmeticError, TypeError, RecursionError) as error:
        raise ValueError(f"invalid retry delay expression: {expression!r}") from error
    return min(max(0.0, delay_ms), LONGEST_MS)


def _value(node: ast.expr, retried: int) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id="retried"):
            return float(retried)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, retried)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, retried), _value(right, retried))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return float(_FUNCTIONS[name](*(_value(arg, retried) for arg in args)))
    raise ValueError(f"invalid retry delay expression: {ast.unparse(node)!r}")
