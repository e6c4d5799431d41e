"""Formulas: what mathematicians write is typeset; what loads, styles, defines, covers or hangs is not."""
# ruff: noqa: E501

from __future__ import annotations

import pytest

from codeexec_magic.display import latex


@pytest.mark.parametrize(
    "text",
    [
        r"$\displaystyle \int\limits_{0}^{\infty} e^{- x^{2}}\, dx$",
        r"$$\left[\begin{matrix}0 & \sin{\left(x \right)}\\1 & 2\end{matrix}\right]$$",
        r"$\begin{cases} x & \text{for}\: x < 1 \\y & \text{otherwise} \end{cases}$",
        r"$\left\{2 n \pi\; \middle|\; n \in \mathbb{Z}\right\}$",
        r"\begin{align*}a&=b\\[1em]c&=d\end{align*}",
        r"\[\color{red}{x} \textcolor{#00ff00}{y} \mathbf{X} \hat{\beta} \operatorname{argmin}\]",
        r"$\hspace{1em}x\!y\Large z$",
        "\\begin{tabular}{lr}\n\\toprule\n & x \\\\\n\\midrule\n0 & 1 \\\\\n\\bottomrule\n\\end{tabular}",
        "a < b, 100\\% of $x$",
    ],
)
def test_mathematics_passes(text: str) -> None:
    """What sympy, pandas and people write."""
    assert latex.refusal(text) == ""


def test_what_sympy_writes_passes() -> None:
    """Its own printer over functions, matrices, sets, sums and derivatives."""
    import sympy

    x, n = sympy.symbols("x n")
    for value in (
        sympy.Integral(sympy.exp(-(x**2)), (x, 0, sympy.oo)), sympy.Matrix(3, 3, lambda i, j: sympy.gamma(i * x)),
        sympy.Piecewise((x, x < 1), (0, True)), sympy.Sum(1 / n**2, (n, 1, sympy.oo)), sympy.solveset(sympy.sin(x), x),
        sympy.Eq(sympy.Function("f")(x).diff(x, 2), 0), sympy.Interval(0, 1), sympy.Symbol("alpha_1"), sympy.besselj(n, x),
        sympy.Limit(1 / x, x, 0), sympy.conjugate(x), sympy.binomial(n, x), sympy.floor(x), sympy.Product(n, (n, 1, x)),
    ):  # fmt: skip
        assert latex.refusal(value._repr_latex_()) == "", value._repr_latex_()


@pytest.mark.parametrize(
    "text",
    [
        r"$\unicode[x;background:url(http://x)]{65}$", r"$\let\u\unicode1\u[x]{65}$", r"$\def\x{y}\x$", r"$\newcommand{\x}{y}$",
        r"$\mmlToken{mi}[href=x]{x}$", r"$\style{position:fixed}{x}$", r"$\href{x}{y}$", r"$\require{html}$", r"$\cssId{x}{y}$",
        r"$\class{jp-Dialog}{x}$", r"$\data{x=y}{x}$", r"$\htmlStyle{x}{y}$", r"$\bbox[position:fixed]{x}$", r"$\char65$",
        r"$\csname href\endcsname{x}{y}$", r"$\catcode`a=13$", r"$\verb|x|$", r"$\ref{x}$", r"$\label{x}$", r"$\ce{H2O}$",
        r"$\rule{60em}{60em}$", r"$\raise 20em x$", r"$\smash{x}$", r"$\llap{x}$", r"$\Space{1em}{1em}{1em}$", r"$\Unicode{1}$",
        r"$\hspace{1000em}$", r"$\hspace{-5em}x$", r"$\kern-5em x$", r"$x\\[999em]y$", r"$\color{red;x}x$", r"$\color{url(x)}x$",
        r"$\begin{array}{*{9999}{c}}x\end{array}$", r"$\begin{array}{>{\unicode}c}x\end{array}$", r"$\begin{evil}x\end{evil}$",
        r"$\begin\unicode$", "$x\\", "$a % }$", "$" + "{" * 100 + "}" * 100 + "$", "$" + r"\left(" * 100 + "$",
        "$" + r"\!" * 1000 + "$", r"$\Huge\Huge\Huge x$", "$" + "x" * 30_000 + "$", "$\\\u0431$", r"\input{/etc/passwd}", r"\write18{x}",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    """With a reason in words."""
    assert latex.refusal(text)
