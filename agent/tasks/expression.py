"""Expressions of checks: comparisons and arithmetic over plain data, and nothing that could do anything else."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from .errors import TaskError

MAX_LENGTH = 2000  # characters of an expression
_MAX_POWER = 64

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "all": all, "any": any, "float": float, "int": int, "len": len, "lower": str.lower, "max": max,
    "min": min, "round": round, "set": set, "sorted": sorted, "str": str, "strip": str.strip, "sum": sum,
}  # fmt: skip
NAMES = ("output", "text", "tools", "usage", "inputs", "steps")


def parse(source: str) -> ast.expr:
    """Read an expression. Raises TaskError for anything outside of the language."""
    if len(source) > MAX_LENGTH:
        raise TaskError(f"an expression may have {MAX_LENGTH} characters")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TaskError(
            f"{source!r} is no expression: {error.msg if isinstance(error, SyntaxError) else error}"
        ) from None
    _check(tree)
    return tree


def evaluate(tree: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises TaskError where the data do not have what it asks for."""
    try:
        return _value(tree, names)
    except TaskError:
        raise
    except RecursionError:
        raise TaskError("the expression is nested too deeply") from None
    except Exception as error:
        raise TaskError(f"{ast.unparse(tree)}: {type(error).__name__}: {error}") from None


def _check(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None):
            return
        case ast.Name(id=name) if name in (*NAMES, "true", "false", "null"):
            return
        case ast.Name(id=name):
            raise TaskError(f"{name!r} is not known; there are {', '.join(NAMES)}")
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            parts = node.args
        case ast.Call():
            raise TaskError(f"only these can be called: {', '.join(FUNCTIONS)}")
        case ast.Attribute(value=value):
            parts = [value]
        case ast.Subscript(value=value, slice=index):
            parts = [value, index]
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.BoolOp(values=parts):
            pass
        case ast.Compare(left=left, comparators=others):
            parts = [left, *others]
        case ast.UnaryOp(op=op, operand=value) if type(op) in _UNARY:
            parts = [value]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY or isinstance(
            op, ast.Mult | ast.Pow
        ):
            parts = [left, right]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            parts = [test, body, orelse]
        case _:
            raise TaskError(f"{ast.unparse(node)!r} cannot stand in an expression")
    for part in parts:
        _check(part)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return (
                {"true": True, "false": False, "null": None}.get(name) if name not in names else names[name]
            )
        case ast.Attribute(value=value, attr=key):
            return _item(_value(value, names), key)
        case ast.Subscript(value=value, slice=index):
            return _item(_value(value, names), _value(index, names))
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return [_value(part, names) for part in parts]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, names) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, names) for part in parts)
        case ast.UnaryOp(op=op, operand=value):
            return _UNARY[type(op)](_value(value, names))
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _value(left, names), _value(right, names))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, names) else orelse, names)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(_value(left, names), ops, [_value(other, names) for other in others])
        case ast.Call(func=ast.Name(id=name), args=parts):
            return FUNCTIONS[name](*(_value(part, names) for part in parts))
    raise TaskError(f"{ast.unparse(node)!r} cannot stand in an expression")


def _item(value: Any, key: Any) -> Any:
    """A key of a mapping or a place of a list: never an attribute of an object."""
    if isinstance(value, Mapping):
        if key not in value:
            raise TaskError(f"there is no {key!r}; there are {', '.join(map(str, value)) or 'no keys'}")
        return value[key]
    if isinstance(value, (list, tuple, str)) and isinstance(key, int):
        return value[key]
    raise TaskError(f"{type(value).__name__} has no {key!r}")


def _binary(op: ast.operator, one: Any, other: Any) -> Any:
    numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
    if isinstance(op, ast.Mult | ast.Pow):
        # Texts and lists could be made as long as memory.
        if not numbers or (isinstance(op, ast.Pow) and abs(other) > _MAX_POWER):
            raise TaskError("only numbers can be multiplied, and powers are small")
        return one * other if isinstance(op, ast.Mult) else one**other
    if isinstance(op, ast.Mod) and not numbers:
        raise TaskError("% is for numbers")
    return _BINARY[type(op)](one, other)


def _compared(left: Any, ops: list[ast.cmpop], others: list[Any]) -> bool:
    for op, right in zip(ops, others, strict=True):
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True
