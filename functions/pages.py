"""Pages for people in a browser: static, without scripts, and with nothing in them that came from outside."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape

from functions.route import Reply

HTML = "text/html; charset=utf-8"
STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; font: 1.125rem/1.6 system-ui, sans-serif; color: #1a1a1a; background: #ffffff; }
main { max-width: 34rem; margin: 15vh auto 0; padding: 0 1.5rem; }
h1 { font-size: 1.75rem; line-height: 1.25; }
code { font-family: ui-monospace, monospace; }
@media (prefers-color-scheme: dark) { body { color: #f2f2f2; background: #121212; } }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PRIVATE: Mapping[str, str] = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""For every answer whose address has a secret in it."""
HEADERS: Mapping[str, str] = {
    **PRIVATE,
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, text: str, *, status: int = 200, code: str | None = None) -> Reply:
    shown = f"<p>Reason: <code>{escape(code)}</code></p>" if code else ""
    content = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · PinkSync</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>\n{shown}\n</main>\n</body>\n</html>\n"
    )
    return Reply(status=status, content=content.encode(), content_type=HTML, headers=dict(HEADERS))
