"""What expressions of Python code refer to, and what is known of the texts in them."""

import ast
from typing import Final

_STARRED: Final = {
    "os": ("system", "popen", "fork", "execv", "execvp"),
    "pickle": ("load", "loads", "Unpickler"),
    "marshal": ("load", "loads"),
}
"""What matters of the modules that bring in everything by a star."""


def imported(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names[alias.asname] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                shown = _STARRED.get(node.module, ()) if alias.name == "*" else (alias.name,)
                names.update({alias.asname or name: f"{node.module}.{name}" for name in shown})
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute | ast.Call):
            # An alias such as run = os.system; one that is assigned anew later stays suspect.
            for target in node.targets:
                if isinstance(target, ast.Name):
                    target_name = dotted(node.value, names)
                    if target_name in ("eval", "exec") or target_name.startswith(
                        ("os.", "subprocess.", "builtins.")
                    ):
                        names.setdefault(target.id, target_name)
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The full name of what an expression refers to; "" if it has none."""
    match node:
        case ast.Name(id=name):
            return names.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            owner = dotted(value, names)
            return f"{owner}.{attr}".removeprefix("builtins.") if owner else f"?.{attr}"
        case ast.Call(func=function, args=[ast.Constant(value=str(module)), *_]) if dotted(
            function, names
        ) in (
            "__import__",
            "importlib.import_module",
        ):
            return module
        case ast.Call(func=ast.Name(id="getattr"), args=[owner_node, ast.Constant(value=str(attr)), *_]):
            owner = dotted(owner_node, names)
            return f"{owner}.{attr}".removeprefix("builtins.") if owner else ""
        case ast.Call(func=ast.Name(id="get_ipython")):
            return "get_ipython()"
        case _:
            return ""


def option(node: ast.Call, name: str) -> ast.expr | None:
    """What a call is given by this keyword."""
    return next((keyword.value for keyword in node.keywords if keyword.arg == name), None)


def is_set(node: ast.Call, name: str, wanted: bool) -> bool:
    """Whether an option is given as this truth value."""
    value = option(node, name)
    return isinstance(value, ast.Constant) and bool(value.value) is wanted


def text_of(node: ast.AST) -> str:
    """The text that an expression is; "" if it is none."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_text(node: ast.AST) -> bool:
    """Whether an expression is a text that stands in the code whole."""
    match node:
        case ast.Constant(value=str() | bytes()):
            return True
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return is_text(left) and is_text(right)
        case ast.JoinedStr(values=values):
            return all(isinstance(value, ast.Constant) for value in values)
        case _:
            return False


def known_text(node: ast.AST) -> str:
    """The parts of a text that stand in the code; what is put in counts as a word."""
    match node:
        case ast.Constant(value=value):
            return value.decode("latin-1") if isinstance(value, bytes) else str(value)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return known_text(left) + known_text(right)
        case ast.BinOp(left=left, op=ast.Mod()):
            return known_text(left)
        case ast.JoinedStr(values=values):
            return "".join(known_text(value) for value in values)
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "join" | "strip" | "split")):
            return known_text(value)
        case _:
            return "X"


def is_put_together(node: ast.expr) -> bool:
    """Whether a text is made of parts that do not all stand in the code."""
    if is_text(node):
        return False
    match node:
        case ast.JoinedStr():
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod()):
            return has_text(left) or has_text(node.right)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return has_text(value) or isinstance(value, ast.Name)
        case _:
            return False


def has_text(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Constant) and isinstance(inner.value, str) for inner in ast.walk(node))
