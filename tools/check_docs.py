"""Check the links of the documentation, its examples, and every name and sentence: `python -m tools.check_docs`.

Each relative link must lead somewhere. Commands and tables are those of `bond`, see `tools.check_examples`. Names
and sentences keep to docs/style.md, see `tools.check_words`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import check_examples, check_words

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def broken_links(page: Path) -> Iterator[str]:
    """The links of one page that lead nowhere, each with its place and reason."""
    text = FENCE.sub(lambda match: "\n" * match.group().count("\n"), page.read_text(encoding="utf-8"))
    for match in LINK.finditer(CODE.sub(lambda match: " " * len(match.group()), text)):
        target = match.group(1)
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        destination = (page.parent / path).resolve() if path else page
        place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
        if not destination.exists():
            yield f"{place}: {target}: no such file"
        elif anchor and destination.suffix == ".md" and anchor not in anchors(destination):
            yield f"{place}: {target}: no such heading"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as renderers of Markdown make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"[`*_]", "", heading).lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def main() -> int:
    """Check every page that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    pages = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
    problems = [problem for page in pages for problem in broken_links(page)]
    print("\n".join(problems) if problems else f"documentation: {len(pages)} pages, every link leads somewhere")
    return check_words.main() or check_examples.main() or bool(problems)


if __name__ == "__main__":
    sys.exit(main())
