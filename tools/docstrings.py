"""The texts under the fields of a model, which Python itself forgets."""

from __future__ import annotations

import ast
import inspect
import textwrap


def field_texts(model: type) -> dict[str, str]:
    """Field name to the text under it, on one line; those of its bases too."""
    texts: dict[str, str] = {}
    for kind in reversed(model.__mro__[:-1]):
        if not kind.__module__.startswith(("bondstone", "activities")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        if not isinstance(body, ast.ClassDef):
            continue
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
                texts[field.target.id] = one_line(ast.literal_eval(text.value))  # type: ignore[attr-defined] # as _is_text says
    return texts


def one_line(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """A text that may stand in a cell of a Markdown table."""
    return one_line(text).replace("|", "\\|")


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
