"""Whether anybody looks at a panel, and keys that a text box of ipywidgets cannot have by itself.

A kernel is told neither that a page was closed nor that an output was cleared, scrolled away or hidden. So the page
says that it shows the panel: a few lines of script, started by an image that cannot load, press a hidden button every
few seconds while the panel can be seen. The same lines make Tab indent and Shift-Enter submit in the code box. They
are a constant: nothing from anywhere else is ever part of them.
"""

from __future__ import annotations

import html
from typing import Final

#: seconds between signs of life, and how long one lasts
BEAT_S: Final = 2
LEASE_S: Final = 7.0

_SCRIPT: Final = """
this.onerror = null;
const me = this;
let away = 0, turn = 0;
const seen = box => {
  const at = box.getBoundingClientRect();
  return document.visibilityState === 'visible' && box.getClientRects().length > 0 && at.bottom > 0
    && at.top < window.innerHeight;
};
const beat = box => { const button = box.querySelector('button.cxm-beat'); if (button) button.click(); };
const keys = event => {
  const area = event.target;
  if (!area.matches || !area.matches('.cxm-code textarea')) return;
  if (event.key === 'Enter' && (event.shiftKey || event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.stopPropagation();
    const submit = event.currentTarget.querySelector('button.cxm-submit');
    if (submit) submit.click();
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
    if (!box.dataset.cxmKeys) { box.dataset.cxmKeys = 'yes'; box.addEventListener('keydown', keys, true); }
    if (seen(box)) { if (turn % BEAT === 0) beat(box); turn += 1; } else { turn = 0; }
  }
  if (2000 > away) setTimeout(step, box ? 1000 : 50);
};
step();
""".replace("BEAT", str(BEAT_S))

#: put once into a panel
MARKER: Final = f'<img src="data:," alt="" style="display:none" onerror="{html.escape(_SCRIPT, quote=True)}">'
