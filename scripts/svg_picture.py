"""An SVG picture for light and dark pages, without scripts or fonts: the same elements give the same file."""

import xml.etree.ElementTree as ET

from dsi.runtime.printable import printable

LETTER = 6.3
"""The width of a letter in pixels, about."""
STYLE = """
svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #818b98; --faint: #c8d1da; --tint: #e6f2fa;
  --blue: #0072b2; --orange: #d55e00; --green: #009e73;
  font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #7d8590; --faint: #3d444d; --tint: #0f2a3d;
    --blue: #56b4e9; --orange: #e69f00; --green: #2fc898; }
}
text { fill: var(--ink); }
.page { fill: var(--page); }
.soft { fill: var(--soft); }
.strong { font-weight: 600; }
.right { text-anchor: end; }
.middle { text-anchor: middle; }
"""
"""Blue, orange and green are told apart by those who do not see all colours (Okabe and Ito)."""


class Picture:
    """Shapes and texts in the order in which they are added, over each other."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.parts: list[ET.Element] = []

    def add(self, tag: str, kind: str = "", **attributes: float | str) -> ET.Element:
        """Add an element of this class, with numbers in pixels; `_` in a name stands for `-`."""
        written = {name.replace("_", "-"): _written(value) for name, value in attributes.items()}
        self.parts.append(ET.Element(tag, ({"class": kind} if kind else {}) | written))
        return self.parts[-1]

    def text(self, text: str, x: float, y: float, kind: str = "") -> None:
        """Add a text on the base line `y`."""
        self.add("text", kind, x=x, y=y).text = printable(text)

    def svg(self, height: float, title: str, description: str, style: str) -> str:
        """The file, with a title and a description for those who do not see it, and styles of the picture's own."""
        size = {"width": _written(self.width), "height": _written(height)}
        box = f"0 0 {size['width']} {size['height']}"
        root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": box, **size, "role": "img"})
        for tag, text in (("title", printable(title)), ("desc", printable(description)), ("style", STYLE + style)):
            ET.SubElement(root, tag).text = text
        ET.SubElement(root, "rect", {"class": "page", "width": "100%", "height": "100%", "rx": "8"})
        root.extend(self.parts)
        ET.indent(root)
        return ET.tostring(root, encoding="unicode") + "\n"


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
