"""Writes and removes sitemap.xml and robots.txt of one site. Told what to do by its environment."""

import json
import os
from pathlib import Path
from xml.sax.saxutils import escape

wanted = json.loads(os.environ["SITEMAP"])
directory = Path(wanted["directory"])

if os.environ["ACTION"] == "write":
    urls = "".join(f"  <url><loc>{escape(address)}</loc></url>\n" for address in wanted["addresses"])
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
    (directory / "sitemap.xml").write_text(f"{text}{urls}</urlset>\n", encoding="utf-8")
    robots = f"User-agent: *\nAllow: /\nSitemap: {wanted['sitemap']}\n"
    (directory / "robots.txt").write_text(robots, encoding="utf-8")
else:
    for name in ("sitemap.xml", "robots.txt"):
        (directory / name).unlink(missing_ok=True)
