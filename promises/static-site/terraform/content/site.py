"""Writes and removes the pages of one site. Told what to do by its environment; safe to run again."""

import html
import json
import os
import shutil
import sys
from pathlib import Path

MARK = ".bondstone.json"
THEMES = {
    "light": {"text": "#1c2430", "paper": "#ffffff", "line": "#d8dee6"},
    "dark": {"text": "#e6ebf2", "paper": "#12161c", "line": "#2c3542"},
    "high-contrast": {"text": "#ffffff", "paper": "#000000", "line": "#ffffff"},
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading} | {title}</title>
<style>
body {{ font: 1.05rem/1.6 system-ui, sans-serif; color: {text}; background: {paper}; margin: 0 auto;
       max-width: 42rem; padding: 2rem 1rem; }}
header {{ border-bottom: 1px solid {line}; margin-bottom: 2rem; }}
a, h1 {{ color: {accent}; }}
nav a {{ margin-right: 1rem; }}
</style>
</head>
<body>
<header><p><strong>{title}</strong></p><nav>{links}</nav></header>
<main><h1>{heading}</h1>
{paragraphs}
</main>
</body>
</html>
"""


def main():
    wanted = json.loads(os.environ["SITE"])
    actions = {"create": create, "write": write, "remove": remove}
    actions[os.environ["ACTION"]](Path(wanted["directory"]), wanted)


def create(directory, wanted):
    """The directory, marked as ours."""
    identity = {"team": wanted["team"], "name": wanted["name"], "promise": "static-site"}
    if directory.exists() and read_mark(directory) != identity and any(directory.iterdir()):
        sys.exit(f"{directory} exists and is not this service's; move it away or choose another name")
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    (directory / MARK).write_text(json.dumps(identity), encoding="utf-8")


def write(directory, wanted):
    """All pages into a fresh directory, which then takes the place of the old one."""
    fresh, public, old = directory / ".fresh", directory / "public", directory / ".old"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    texts = {"index": (wanted["title"], wanted["intro"])}
    if wanted["not_found_page"]:
        texts["404"] = ("Not found", "There is no page by that name. It may have moved.")
    texts |= {page["slug"]: (page["title"], page["text"]) for page in wanted["pages"]}
    for slug, (heading, text) in texts.items():
        (fresh / f"{slug}.html").write_text(render(wanted, heading, text), encoding="utf-8")
    if public.exists():
        for kept in ("sitemap.xml", "robots.txt"):  # the step `sitemap` keeps those
            if (public / kept).exists():
                shutil.copy2(public / kept, fresh / kept)
        public.rename(old)
    fresh.rename(public)
    shutil.rmtree(old, ignore_errors=True)


def render(wanted, heading, text):
    pages = [{"slug": "index", "title": "Home"}, *wanted["pages"]]
    links = "".join(f'<a href="{page["slug"]}.html">{html.escape(page["title"])}</a>' for page in pages)
    paragraphs = "\n".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n") if part.strip())
    return PAGE.format(
        title=html.escape(wanted["title"]),
        heading=html.escape(heading),
        links=links,
        paragraphs=paragraphs,
        accent=html.escape(wanted["accent"]),
        **THEMES[wanted["theme"]],
    )


def remove(directory, wanted):
    """Everything, but only where the mark says that it is this service's."""
    if not directory.exists():
        return
    mark = read_mark(directory)
    if mark is None or (mark["team"], mark["name"]) != (wanted["team"], wanted["name"]):
        sys.exit(f"{directory} is not this service's; it is left alone")
    shutil.rmtree(directory)


def read_mark(directory):
    try:
        return json.loads((directory / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    main()
