"""Which formulas of a cell may be typeset: an allow-list of TeX commands and environments. Pure.

MathJax runs in the notebook page, and several of its commands load, style, link or define new commands. So every
command of a formula must be on the list below; what makes a formula large (length, depth, distances) is bounded.
"""

from __future__ import annotations

import re
from typing import Final

#: A formula longer than this is not typeset (characters).
MAX_LENGTH: Final = 20_000
#: All formulas of one job together may have so many characters.
MAX_JOB_LENGTH: Final = 200_000
TOO_MANY: Final = f"the formulas of a job have more than {MAX_JOB_LENGTH:,} characters"
#: Groups and environments nested deeper than this are not typeset.
MAX_DEPTH: Final = 60
#: At most so many commands of each kind that move or enlarge what follows.
MAX_SHIFTS: Final = 100
MAX_SIZES: Final = 2
#: The longest distance that a formula may ask for (em).
MAX_DISTANCE_EM: Final = 10.0

_LETTERS: Final = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa varkappa lambda mu nu xi omicron pi varpi
rho varrho sigma varsigma tau upsilon phi varphi chi psi omega digamma Gamma Delta Theta Lambda Xi Pi Sigma Upsilon
Phi Psi Omega varGamma varDelta varTheta varLambda varXi varPi varSigma varUpsilon varPhi varPsi varOmega aleph beth
gimel daleth hbar hslash imath jmath ell wp Re Im partial infty nabla emptyset varnothing eth mho complement angle
measuredangle sphericalangle top bot forall exists nexists neg lnot flat natural sharp prime backprime clubsuit
diamondsuit heartsuit spadesuit bigstar blacksquare square Box Diamond lozenge blacklozenge triangle blacktriangle
blacktriangledown triangledown circledS circledR checkmark maltese yen dag ddag dagger ddagger S P copyright pounds
degree Bbbk Finv Game ss ae oe aa o l AE OE AA O L
"""
_OPERATORS: Final = """
sum prod coprod int iint iiint iiiint oint oiint idotsint intop smallint bigcap bigcup bigodot bigoplus bigotimes
bigsqcup biguplus bigvee bigwedge pm mp times div ast star circ bullet cdot cdotp ldotp cap cup uplus sqcap sqcup vee
wedge lor land setminus smallsetminus wr diamond bigtriangleup bigtriangledown triangleleft triangleright lhd rhd
unlhd unrhd oplus ominus otimes oslash odot bigcirc amalg dotplus divideontimes ltimes rtimes leftthreetimes
rightthreetimes intercal boxplus boxminus boxtimes boxdot circleddash circledast circledcirc centerdot barwedge veebar
doublebarwedge curlywedge curlyvee Cap Cup sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth exp log ln
lg lim liminf limsup max min sup inf det dim ker hom gcd arg deg Pr injlim projlim varliminf varlimsup varinjlim
varprojlim bmod pmod mod pod limits nolimits surd
"""
_RELATIONS: Final = """
le leq leqq leqslant ge geq geqq geqslant lt gt ne neq not equiv sim simeq approx approxeq cong propto varpropto ll gg
lll ggg prec succ preceq succeq precsim succsim preccurlyeq succcurlyeq precapprox succapprox subset supset subseteq
supseteq subseteqq supseteqq sqsubset sqsupset sqsubseteq sqsupseteq Subset Supset in ni notin owns mid nmid parallel
nparallel perp vdash dashv models vDash Vdash Vvdash nvdash nvDash smile frown asymp doteq doteqdot bowtie Join
between pitchfork therefore because lesssim gtrsim lessapprox gtrapprox lessgtr gtrless lesseqgtr gtreqless eqcirc
circeq triangleq trianglelefteq trianglerighteq vartriangleleft vartriangleright nless ngtr nleq ngeq nsim ncong nprec
nsucc nsubseteq nsupseteq subsetneq supsetneq coloneqq eqqcolon colon backsim backsimeq bumpeq Bumpeq risingdotseq
fallingdotseq thicksim thickapprox
"""
_ARROWS: Final = """
to gets leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow longleftarrow longrightarrow
longleftrightarrow Longleftarrow Longrightarrow Longleftrightarrow iff implies impliedby mapsto longmapsto uparrow
downarrow updownarrow Uparrow Downarrow Updownarrow nearrow searrow swarrow nwarrow hookleftarrow hookrightarrow
leftharpoonup leftharpoondown rightharpoonup rightharpoondown rightleftharpoons leftrightharpoons upharpoonleft
upharpoonright leadsto rightsquigarrow leftrightarrows rightleftarrows leftleftarrows rightrightarrows upuparrows
downdownarrows twoheadrightarrow twoheadleftarrow rightarrowtail leftarrowtail looparrowright looparrowleft
curvearrowright curvearrowleft circlearrowright circlearrowleft dashrightarrow dashleftarrow nrightarrow nleftarrow
nRightarrow nLeftarrow nleftrightarrow multimap Lsh Rsh
"""
_STRUCTURE: Final = r"""
frac dfrac tfrac cfrac binom dbinom tbinom sqrt root of over choose atop brace brack stackrel overset underset
substack sideset overline underline overbrace underbrace overrightarrow overleftarrow overleftrightarrow
underrightarrow underleftarrow widehat widetilde hat check breve acute grave tilde bar vec dot ddot dddot ddddot
mathring boxed left right middle big Big bigg Bigg bigl Bigl biggl Biggl bigr Bigr biggr Biggr bigm Bigm biggm Biggm
langle rangle lbrace rbrace lbrack rbrack lfloor rfloor lceil rceil lvert rvert lVert rVert vert Vert lgroup rgroup
lmoustache rmoustache ulcorner urcorner llcorner lrcorner backslash colon dots ldots cdots vdots ddots dotsb dotsc
dotsi dotsm dotso iddots hdots mathstrut strut phantom hphantom vphantom bra ket braket Bra Ket Braket cancel bcancel
xcancel xrightarrow xleftarrow displaystyle textstyle scriptstyle scriptscriptstyle quad qquad enspace enskip
thinspace medspace thickspace space nobreakspace mathrm mathbf mathit mathsf mathtt mathcal mathscr mathfrak mathbb
mathnormal mathbfit boldsymbol bm pmb mathop mathbin mathrel mathord mathopen mathclose mathpunct mathinner
operatorname text textrm textbf textit textsf texttt textnormal textup mbox hbox rm bf it sf tt cal frak Bbb begin end
hline tag notag nonumber toprule midrule bottomrule cr newline
"""
#: Commands of one character that is not a letter.
_SYMBOLS: Final = frozenset("\\{}|,;:> /()[]$%#&_'`^\"~.=\n-")
_SIZES: Final = frozenset(["tiny", "scriptsize", "small", "normalsize", "large", "Large", "LARGE", "huge", "Huge"])
_COLOURS: Final = frozenset({"color", "textcolor"})
_SHIFTS: Final = frozenset({"!", "negthinspace", "negmedspace", "negthickspace"})
_DISTANCES: Final = frozenset({"hspace", "kern", "mkern", "mskip", "hskip", "mspace"})
COMMANDS: Final = frozenset(f"{_LETTERS} {_OPERATORS} {_RELATIONS} {_ARROWS} {_STRUCTURE}".split())
ENVIRONMENTS: Final = frozenset(
    """matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix matrix* pmatrix* bmatrix* vmatrix* array cases rcases
    align align* aligned alignat alignat* alignedat equation equation* gather gather* gathered multline multline*
    split eqnarray eqnarray* flalign flalign* subarray tabular table center""".split()  # noqa: SIM905, a list would take a page
)
_TOKEN: Final = re.compile(r"\\([A-Za-z]+|.)|([{}])|(%)|\\", re.S)
_NAME: Final = re.compile(r"\s*\{([A-Za-z]+\*?)\}")
#: What may stand behind the name of an environment: columns of an array, a number of columns.
_COLUMNS: Final = re.compile(r"\s*(?:\[[tbclr]\]\s*)?\{([lcr|: 0-9]{0,200})\}")
_HAS_COLUMNS: Final = frozenset({"array", "tabular", "subarray", "alignat", "alignat*", "alignedat"})
_COLOUR: Final = re.compile(r"\s*\{\s*([A-Za-z]{1,30}|#[0-9a-fA-F]{3,8})\s*\}")
_DISTANCE: Final = re.compile(r"\s*\{?\s*(-?[0-9.]{1,8})\s*(em|ex|mu|pt|px|mm|cm|in)\b")
#: A distance may follow the end of a line in brackets.
_LINE_DISTANCE: Final = re.compile(r"\s*\[")
_EM: Final = {"em": 1.0, "ex": 0.5, "mu": 1 / 18, "pt": 0.1, "px": 0.0625, "mm": 0.28, "cm": 2.8, "in": 7.2}


def refusal(text: str) -> str:
    """Why this text must not be typeset; empty if it may. All of it counts, also what stands outside of formulas."""
    if len(text) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH:,} characters"
    return _Reader(text).refusal()


class _Reader:
    """Reads a text command by command, and counts what makes a formula large."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._sizes = 0
        self._shifts = 0

    def refusal(self) -> str:
        for found in _TOKEN.finditer(self._text):
            if found[3]:
                return "it contains a comment"  # which could hide the end of a group
            if found[2]:
                self._nest(1 if found[2] == "{" else -1)
            else:
                # the last character may be a backslash, which would take what the page puts behind it
                reason = self._command(found[1], found.end()) if found[1] else "it ends in a backslash"
                if reason:
                    return reason
            if self._depth > MAX_DEPTH:
                return f"it is nested deeper than {MAX_DEPTH}"
        return ""

    def _nest(self, by: int) -> None:
        # an end without a beginning is text, and ends nothing
        self._depth = max(0, self._depth + by)

    def _command(self, name: str, end: int) -> str:
        if name in _SIZES:
            self._sizes += 1
            return "" if self._sizes <= MAX_SIZES else "it changes its size too often"
        if name in _SHIFTS:
            self._shifts += 1
            return "" if self._shifts <= MAX_SHIFTS else "it moves back too often"
        if name in _COLOURS:
            return "" if _COLOUR.match(self._text, end) else f"the colour of \\{name} is not a name or #rrggbb"
        if name in _DISTANCES:
            return self._distance(name, end)
        if name in ("begin", "end"):
            return self._environment(name, end)
        if name == "left":
            self._nest(1)
        elif name == "right":
            self._nest(-1)
        elif name in ("\\", "cr", "newline") and (found := _LINE_DISTANCE.match(self._text, end)):
            return self._distance(name, found.end())
        if len(name) == 1 and not name.isascii():
            return "a backslash stands before a letter that is no command"
        known = name in COMMANDS or (len(name) == 1 and name in _SYMBOLS)
        return "" if known else f"\\{name[:40]} is not on the list of commands"

    def _distance(self, name: str, end: int) -> str:
        self._shifts += 1
        found = _DISTANCE.match(self._text, end)
        try:
            good = found is not None and abs(float(found[1])) * _EM[found[2]] <= MAX_DISTANCE_EM
        except ValueError:
            good = False
        if not good or self._shifts > MAX_SHIFTS:
            return f"a distance of \\{name} is too long, or there are too many"
        return "" if found is None or not found[1].startswith("-") else f"\\{name} moves back"

    def _environment(self, name: str, end: int) -> str:
        self._nest(1 if name == "begin" else -1)
        found = _NAME.match(self._text, end)
        if found is None or found[1] not in ENVIRONMENTS:
            return f"the environment {found[1][:40] if found else ''} is not on the list"
        columns = name == "begin" and found[1] in _HAS_COLUMNS
        if columns and not _COLUMNS.match(self._text, found.end()):
            return f"the columns of the environment {found[1]} are not made of l, c, r and |"
        return ""
