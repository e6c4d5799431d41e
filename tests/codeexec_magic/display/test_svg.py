"""SVG: plots, graphs and boards are drawn; bombs, scripts and references to elsewhere are not."""
# ruff: noqa: E501

from __future__ import annotations

import base64
import io

import pytest

from codeexec_magic.display import svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="200" height="200">'


def nested(levels: int, width: int, leaf: str, reference: str) -> str:
    """Groups of ``width`` references each to the group below."""
    groups = [f'<g id="a0">{leaf}</g>']
    groups += [f'<g id="a{i}">{reference.format(i - 1) * width}</g>' for i in range(1, levels)]
    return f"{HEAD}<defs>{''.join(groups)}</defs>{reference.format(levels - 1)}</svg>"


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (50_000).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0").decode()
BOMBS = {
    "use": nested(9, 10, '<path d="M0 0L9 9L0 9z" opacity=".5"/>', '<use xlink:href="#a{}"/>'),
    "use without namespace": nested(9, 10, '<path d="M0 0L9 9z"/>', '<use href="#a{}"/>'),
    "pattern": HEAD + "<defs>" + "".join(
        f'<pattern id="a{i}" width="9" height="9">' + f'<rect width="9" height="9" fill="url(#a{i - 1})"/>' * 10 + "</pattern>" for i in range(9)
    ) + '</defs><rect width="9" height="9" fill="url(#a8)"/></svg>',
    "inherited pattern": HEAD + '<pattern id="p">' + "<rect/>" * 1000 + '</pattern><g fill="url(#p)">' + "<rect/>" * 1000 + "</g></svg>",
    "mask": HEAD + "".join(f'<mask id="a{i}">' + f'<rect style="mask:url(#a{i - 1})"/>' * 10 + "</mask>" for i in range(9)) + '<rect mask="url(#a8)"/></svg>',
    "marker": HEAD + '<marker id="m">' + "<rect/>" * 1000 + '</marker><path marker-mid="url(#m)" d="M0 0' + "L1 1" * 1000 + '"/></svg>',
    "loop": HEAD + '<g id="a"><use href="#a"/></g></svg>',
    "many": HEAD + "<rect/>" * 70_000 + "</svg>",
    "deep": HEAD + "<g>" * 1000 + "</g>" * 1000 + "</svg>",
    "dashes": HEAD + '<path d="M0 0L9000000 0" stroke-dasharray="0.001"/></svg>',
    "layers": HEAD + '<g opacity=".9"><rect/></g>' * 10_000 + "</svg>",
    "entities": '<!DOCTYPE s [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>' + HEAD + "<text>&c;</text></svg>",
    "numbers": HEAD + '<path d="M0 0L1e300 0"/></svg>',
    "pixels": HEAD + f'<image href="data:image/png;base64,{PNG}"/></svg>',
    "outside": HEAD + '<image href="https://x.example/y.png"/></svg>',
    "huge": HEAD.replace('"200" height="200"', '"200" height="9000000"') + "</svg>",
    "narrow": HEAD.replace(' width="200" height="200"', ' viewBox="0 0 1 100000"') + "</svg>",
    "long dashes": HEAD + '<path d="M0 0C1000000 5 -1000000 900 700 9" stroke-dasharray="1"/>' * 200 + "</svg>",
    "inherited dashes": HEAD + '<g stroke-dasharray="1 1">' + '<path d="M0 0L900000 9"/>' * 200 + "</g></svg>",
    "dashes by pathLength": HEAD + '<path d="M0 0L9 9" pathLength="1e7" stroke-dasharray="1 1"/>' * 10 + "</svg>",
    "many dashes in one": HEAD + f'<path d="M0 0L90000 9" stroke-dasharray="{"0 0 " * 200}1 1"/></svg>',
    "no xml": '"><script>',
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused(name: str) -> None:
    """Whatever multiplies shapes, pixels or layers is counted before anything is drawn."""
    with pytest.raises(svg.Refused):
        svg.cleaned(BOMBS[name])


def test_nothing_active_is_left() -> None:
    """Scripts, handlers, animations, foreign content, filters and addresses are left out, the shape stays."""
    shown = svg.cleaned(
        HEAD + '<script>1</script><style>@import url(//x.example); rect{fill:red;filter:url(#f);animation:a 1s} '
        'b{background:url(//x.example)}</style><rect onclick="1" width="5" fill="url(https://x.example)" filter="url(#f)"'
        ' style="fill:red;background:url(//x.example);mask:url(#m)"><animate attributeName="x" repeatCount="indefinite"/></rect>'
        '<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject><a xlink:href="javascript:1"><text>kept</text></a></svg>'
    ).content  # fmt: skip
    for word in ("script", "import", "x.example", "onclick", "animat", "filter", "foreign", "<p", "javascript"):
        assert word not in shown, shown
    assert "rect{fill:red}" in shown
    assert 'style="fill:red;mask:url(#m)"' in shown
    assert "<text>kept</text>" in shown


def test_selectors_that_search_are_left_out() -> None:
    """A rule for siblings or for what an element contains makes the browser look through all elements each time."""
    shown = svg.cleaned(
        HEAD + "<style>*{fill:red} .a #b > path , a~b{fill:blue} a+b{fill:lime} :not(a){fill:tan} a[b]{fill:tan}"
        f"b:has(a){{fill:tan}}{'c{fill:pink}' * 1000}</style><rect/></svg>"
    ).content
    assert "<style>*{fill:red}\n.a #b &gt; path{fill:blue}\nc{fill:pink}" in shown
    assert "~" not in shown
    assert ":not" not in shown
    assert "tan" not in shown
    assert shown.count("{") <= 300


def test_a_plot_is_drawn() -> None:
    """matplotlib's SVG keeps its lines, hatches, images, clips and style."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.scatter(range(3000), range(3000))
    axes.plot([1, 2], linestyle="--")
    axes.hist([1, 2, 2], hatch="//", alpha=0.5)
    axes.imshow([[1, 2], [3, 4]])
    written = io.StringIO()
    figure.savefig(written, format="svg")
    pyplot.close(figure)
    shown = svg.cleaned(written.getvalue()).content
    for word in (
        "<use ",
        "<clipPath",
        "<pattern",
        "<image ",
        "stroke-dasharray",
        "stroke-linejoin: round".replace(" ", ""),
    ):
        assert word in shown
    assert shown.count("<use ") == written.getvalue().count("<use ")


def test_a_graph_is_drawn() -> None:
    """What graphviz writes, with its document type; links are left out."""
    shown = svg.cleaned(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"\n'
        ' "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n' + HEAD + '<g id="graph0" transform="scale(1 1)"><title>%3</title>'
        '<a xlink:href="https://x.example" xlink:title="t"><ellipse cx="27" cy="-90" rx="27" ry="18"/><text x="27">a&#45;b</text></a></g></svg>'
    ).content  # fmt: skip
    assert "<ellipse" in shown
    assert ">a-b</text>" in shown
    assert "x.example" not in shown


def test_a_chess_board_is_drawn() -> None:
    """Pieces are references."""
    import chess.svg

    assert svg.cleaned(chess.svg.board(chess.Board())).content.count("<use ") >= 32
