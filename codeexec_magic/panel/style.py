"""The style sheet of the panel: that of the cards and of the board, and what only a panel has."""

from __future__ import annotations

from typing import Final

from codeexec_magic.display import live_card, theme
from codeexec_magic.panel import dashboard

STYLE: Final = (
    theme.CSS
    + dashboard.CSS
    + live_card._STYLE
    + """<style>
.cxm-panel{border:1px solid var(--jp-border-color2,#e0e0e0)!important;border-radius:8px;padding:12px 14px!important;
background:var(--jp-layout-color1,#fff);margin:4px 0!important}
.cxm-panel .widget-html-content,.cxm-panel .widget-html{line-height:inherit;overflow:visible}
.cxm-panel .widget-html-content{width:100%}
.cxm-panel .cxm-box{background:var(--jp-layout-color0,#fafafa)}
.cxm-panel .jupyter-button.cxm-submit,.cxm-panel .jupyter-button.cxm-yes{background:var(--jp-brand-color1,#1976d2);
color:#fff;border-color:transparent}
.cxm-panel .jupyter-button.cxm-beat,.cxm-panel .jupyter-button.cxm-hold{display:none}
.cxm-code textarea{font:12.5px/1.5 var(--jp-code-font-family,ui-monospace,monospace)!important;
border-radius:4px!important;
background:var(--jp-cell-editor-background,#fafafa)!important;color:var(--jp-content-font-color1,#212121)!important;
border:1px solid var(--jp-border-color1,#bdbdbd)!important;tab-size:4}
.cxm-code textarea:focus{border-color:var(--jp-brand-color1,#1976d2)!important}
.cxm-field label,.cxm-field .widget-label{font-size:12px;color:var(--jp-ui-font-color2,#616161)}
.cxm-field select,.cxm-field input{font-size:12px!important;height:26px;border-radius:4px}
.cxm-panel .cxm-toggle .jupyter-button{margin:0;border-radius:4px;box-shadow:none;
height:24px;line-height:22px;font-size:12px;padding:0 10px;width:auto!important}
.cxm-stale .cxm-data{opacity:.5}
.cxm-item{border-bottom:1px solid var(--jp-border-color2,#e0e0e0);min-height:30px}
.cxm-jobrow,.cxm-letter{display:grid;gap:0 10px;align-items:center;font-size:12.5px;width:100%}
.cxm-jobrow{grid-template-columns:64px 158px minmax(0,1.9fr) minmax(0,1fr) 30px 52px 76px;gap:0 8px}
.cxm-letter{grid-template-columns:64px 158px minmax(0,1fr) 34px 62px 96px;padding:3px 0}
.cxm-letter .cxm-all{grid-column:1/-1}
.cxm-clip{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0}
.cxm-what{display:flex;align-items:baseline}.cxm-what>*{overflow:hidden;text-overflow:ellipsis;white-space:nowrap!important}
.cxm-what>code:not(:last-child){flex:0 1 auto;max-width:45%}.cxm-what>.cxm-tail{flex:1 1 0}
.cxm-head{color:var(--cx-dim);font-size:11.5px;padding:2px 136px 2px 0;border-bottom:1px solid var(--cx-line);
box-sizing:border-box}
.cxm-n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.cxm-tail{color:var(--cx-dim);margin-left:10px;font:11.5px var(--jp-code-font-family,ui-monospace,monospace)}
.cxm-link{font-size:12px;color:var(--jp-content-link-color,#1976d2)!important;cursor:pointer;white-space:nowrap}
.cxm-link:hover{text-decoration:underline}.cxm-none{padding:4px 0}
</style>"""
)
