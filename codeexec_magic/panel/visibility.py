"""Whether anybody looks at a panel, and what the widgets of ipywidgets cannot have by themselves.

A kernel is told neither that a page was closed nor that an output was cleared, scrolled away or hidden. So the page
says that it shows the panel: a few lines of script, started by an image that cannot load, press a hidden button every
few seconds while the panel can be seen, and another one while text in it is selected, which a redraw would undo. The
same lines make Tab indent and Shift-Enter submit in the code box, and put a table that was scrolled sideways back to
where it was when it has been redrawn. They are a constant: nothing from anywhere else is ever part of them.
"""

from __future__ import annotations

import html
from typing import Final

#: seconds between signs of life, and how long one lasts
BEAT_S: Final = 2
LEASE_S: Final = 7.0
#: how long a word that text is selected lasts; it is repeated every second
HOLD_S: Final = 3.0

_SCRIPT: Final = """
this.onerror = null;
const me = this;
let away = 0, turn = 0;
const seen = box => {
  const at = box.getBoundingClientRect();
  return document.visibilityState === 'visible' && box.getClientRects().length > 0 && at.bottom > 0
    && at.top < window.innerHeight;
};
const press = (box, name) => { const button = box.querySelector('button.cxm-' + name); if (button) button.click(); };
const selected = box => {
  const chosen = document.getSelection();
  return chosen.type === 'Range' && box.contains(chosen.anchorNode);
};
const begin = event => {
  const at = event.target.nodeType === 1 ? event.target : event.target.parentElement;
  if (at && !at.closest('textarea, input, button, .cxm-box')) press(event.currentTarget, 'hold');
};
const done = event => {
  if (event.isTrusted && event.target.closest('button')) document.getSelection().removeAllRanges();
};
const places = new Map();
const scrolled = event => {
  const part = event.target.closest && event.target.matches('.cxm-wide') && event.target.closest('.widget-html');
  if (part) places.set(part, event.target.scrollLeft);
};
const restore = () => places.forEach((left, part) => {
  const table = part.querySelector('.cxm-wide');
  if (table && table.scrollLeft !== left) table.scrollLeft = left;
});
const keys = event => {
  const area = event.target;
  if (!area.matches || !area.matches('.cxm-code textarea')) return;
  if (event.key === 'Enter' && (event.shiftKey || event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.stopPropagation();
    press(event.currentTarget, 'submit');
  } else if (event.key === 'Tab' && !event.shiftKey && !event.ctrlKey && !event.altKey) {
    event.preventDefault();
    event.stopPropagation();
    document.execCommand('insertText', false, '    ');
  }
};
const step = () => {
  const box = me.isConnected ? me.closest('.cxm-panel') : null;
  away = box ? 0 : away + 1;
  if (box) {
    if (!box.dataset.cxmKeys) {
      box.dataset.cxmKeys = 'yes';
      box.addEventListener('keydown', keys, true);
      box.addEventListener('selectstart', begin);
      box.addEventListener('click', done);
      box.addEventListener('scroll', scrolled, true);
      new MutationObserver(restore).observe(box, {childList: true, subtree: true});
    }
    if (seen(box)) { if (turn % BEAT === 0) press(box, 'beat'); turn += 1; } else { turn = 0; }
    if (selected(box)) press(box, 'hold');
  }
  if (2000 > away) setTimeout(step, box ? 1000 : 50);
};
step();
""".replace("BEAT", str(BEAT_S))

#: put once into a panel
MARKER: Final = f'<img src="data:," alt="" style="display:none" onerror="{html.escape(_SCRIPT, quote=True)}">'
