"""A report as one HTML file that needs no network and no other file: what its Markdown says, with its figures in it."""

import html
import re
from pathlib import Path

from dsi.report.figures import FIGURES
from dsi.report.template import filled

TEMPLATE = Path(__file__).with_name("page.html")
IMAGE = re.compile(rf'<p><img src="{FIGURES}/([\w-]+)\.svg" alt="[^"]*" title="([^"]*)" /></p>')
"""A figure as its Markdown is rendered, its name and its title."""
FILES = ("png", "pdf", "csv")
"""The endings of a figure's files that stand beside the page."""


def write_page(path: Path, markdown: str, browser: str = "", config: str = "") -> None:
    """Write the page of a report: its `markdown`, whose figures are in the folder of `path`, the part on single queries
    as HTML, and the configuration as YAML; the last two are left out if empty."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = IMAGE.sub(lambda image: _figure(path.parent / FIGURES, image[1], image[2]), body)
    body = body.replace("<table>", '<div class="table" role="group" aria-label="table" tabindex="0"><table>')
    body = body.replace("</table>", "</table></div>") + browser
    if config:
        body += f'<h2>Configuration</h2>\n<pre tabindex="0">{html.escape(config)}</pre>'
    title = html.escape(markdown.partition("\n")[0].lstrip("# "))
    path.write_text(filled(TEMPLATE, title=title, body=_with_contents(body)), encoding="utf-8")


def _figure(folder: Path, name: str, title: str) -> str:
    """A figure of this folder as a part of the page; its `title` is HTML."""
    links = ", ".join(f'<a href="{FIGURES}/{name}.{ending}">{ending.upper()}</a>' for ending in FILES)
    svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
    return f'<figure>\n{svg}<figcaption>{title}. <span class="files">{links}</span></figcaption>\n</figure>'


def _with_contents(body: str) -> str:
    """The body with its headings as links below the title."""
    headings = re.findall("<h2>(.*?)</h2>", body)
    for heading in headings:
        body = body.replace(f"<h2>{heading}</h2>", f'<h2 id="{_anchor(heading)}">{heading}</h2>', 1)
    links = "".join(f'<li><a href="#{_anchor(heading)}">{heading}</a></li>' for heading in headings)
    return body.replace("</h1>", f'</h1>\n<nav aria-label="Contents"><ul>{links}</ul></nav>', 1)


def _anchor(heading: str) -> str:
    """The id of a heading."""
    return re.sub(r"\W+", "-", heading.lower()).strip("-")
