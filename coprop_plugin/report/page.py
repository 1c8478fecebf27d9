"""Pages from templates: everything in one file, escaped, without scripts or network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from ..version import __version__

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **context: object) -> str:
    """The page that a template of ``report/templates`` makes of the context; every value is escaped unless Markup."""
    css = (TEMPLATES / "page.css").read_text("utf-8")
    return (
        _environment()
        .get_template(template)
        .render(css=Markup(css), policy=content_policy(css), version=__version__, **context)
    )


def content_policy(css: str) -> str:
    """The content-security policy of a page: pictures inside it, this one style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
