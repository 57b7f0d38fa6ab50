"""Makes a drawing safe to stand in a page: what is not known to only draw is left out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup

from sagestack.review.render.words import visible

_ELEMENTS = frozenset(
    {
        "svg", "g", "path", "polygon", "polyline", "ellipse", "circle", "rect", "line", "text", "tspan",
        "title", "desc", "defs", "marker", "clipPath", "linearGradient", "radialGradient", "stop",
    }
)  # fmt: skip
_ATTRIBUTES = frozenset(
    {
        "viewBox", "width", "height", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "d",
        "points", "transform", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap",
        "stroke-linejoin", "stroke-opacity", "fill-opacity", "fill-rule", "opacity", "font-family",
        "font-size", "font-weight", "font-style", "text-anchor", "dominant-baseline", "text-decoration",
        "letter-spacing", "dx", "dy", "rotate", "textLength", "lengthAdjust", "class", "id", "role",
        "aria-label", "aria-hidden", "aria-labelledby", "preserveAspectRatio", "offset", "stop-color",
        "stop-opacity", "clip-path", "marker-end", "marker-start", "markerWidth", "markerHeight", "refX",
        "refY", "orient", "gradientUnits", "gradientTransform", "color", "vector-effect", "paint-order",
    }
)  # fmt: skip
_UNWRAPPED = frozenset({"a", "switch"})
"""What is inside them is drawn; a link in a drawing leads out of the page, which has no network."""
_NAMESPACE = "http://www.w3.org/2000/svg"
_ELSEWHERE = re.compile(r"url\s*\(\s*(?!['\"]?#)|javascript:|expression\s*\(|[\\@]", re.IGNORECASE)


def drawn(svg: str | None, prefix: str) -> Markup | None:
    """A drawing that cannot do anything; None where there is none, or it is no SVG.

    Scripts, event handlers, styles, links, pictures in the picture, foreign objects and everything else that is not on the list
    of drawing elements is dropped. Graphviz escapes the labels, but a page that a person trusts does not rely on that.

    Args:
        svg: with or without an XML head.
        prefix: goes before every id, so that two drawings on a page have no id in common.
    """
    # Entities are the only thing a parser could be busy with for hours, and no drawing of ours has any.
    if not svg or "<!ENTITY" in svg:
        return None
    try:
        root = ElementTree.fromstring(svg[svg.index("<svg") :])  # noqa: S314  no entities, see above
    except (ValueError, ElementTree.ParseError):
        return None
    if _name(root) != "svg":
        return None
    _clean(root, prefix)
    ElementTree.register_namespace("", _NAMESPACE)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704  cleaned just now


def _name(element: ElementTree.Element) -> str:
    namespace, _, name = str(element.tag).rpartition("}")
    return name if namespace in ("", f"{{{_NAMESPACE}") else ""


def _clean(element: ElementTree.Element, prefix: str) -> None:
    element.tag = f"{{{_NAMESPACE}}}{_name(element)}"
    for name, value in list(element.attrib.items()):
        if name not in _ATTRIBUTES or _ELSEWHERE.search(value):
            del element.attrib[name]
        elif name in ("id", "aria-labelledby"):
            element.set(name, f"{prefix}{value}")
        elif "url(" in value:
            element.set(name, re.sub(r"url\(\s*['\"]?#", f"url(#{prefix}", value).replace("')", ")").replace('")', ")"))
    element.text = visible(element.text) if element.text else None
    kept: list[ElementTree.Element] = []
    for child in element:
        if not isinstance(child.tag, str):
            continue
        if _name(child) in _UNWRAPPED:
            child.tag = f"{{{_NAMESPACE}}}g"
        if _name(child) in _ELEMENTS:
            _clean(child, prefix)
            child.tail = visible(child.tail) if child.tail else None
            kept.append(child)
    element[:] = kept
