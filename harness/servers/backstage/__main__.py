"""`python -m harness.servers.backstage [install|pages]`: run it, or install what it needs."""

from __future__ import annotations

import sys
from typing import Final

import httpx2

from bondstone.base.settings import Settings
from harness.servers.backstage.configuration import Secrets, bondstone_settings
from harness.servers.backstage.packages import build_pages, install, missing_pages
from harness.servers.backstage.stock import ANSWER_SECONDS, running

DEFAULT_URL: Final = "http://localhost:7007"


def main() -> int:
    """Run one beside the platform that `bond up` has started, until interrupted: `make backstage`."""
    settings = Settings.load()
    folder = settings.data.absolute() / "backstage"
    folder.mkdir(parents=True, exist_ok=True)
    files = Secrets(folder)
    files.make()
    if not settings.api or not _knows_it(settings.api, files):
        variables = " ".join(f"{name}='{value}'" for name, value in bondstone_settings(DEFAULT_URL, files).items())
        print("start the platform with these settings, and then `make backstage` again:\n")
        print(f"  bond down; {variables} bond up --detach")
        return 1
    with running(DEFAULT_URL, settings.api, folder) as one:
        pages = missing_pages() or f"its pages are at {one.url}, where everybody enters as the guest"
        print(f"Backstage's backend serves at {one.url}; {pages}; its log: {one.server.log}")
        print(f"agents reach its MCP server at {one.url}/api/mcp-actions/v1")
        try:
            if one.server.process is not None:
                one.server.process.wait()
        except KeyboardInterrupt:
            return 0
    return 1


def _knows_it(api: str, files: Secrets) -> bool:
    """Whether the platform serves the feed under our secret."""
    try:
        answer = httpx2.get(f"{api}/backstage/v1/{files.feed.read_text()}/catalog.yaml", timeout=ANSWER_SECONDS)
    except httpx2.HTTPError:
        return False
    return answer.status_code == httpx2.codes.OK


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["install"]:
            sys.exit(install())
        case ["pages"]:
            sys.exit(build_pages())
        case _:
            sys.exit(main())
