"use strict";(self.rspackChunkprefect_nb_frontend=self.rspackChunkprefect_nb_frontend||[]).push([[552],{821(n,e,r){var a=r(601),t=r.n(a),p=r(314),i=(r.n(p))()(t());i.push([n.id,`/* The state of a cell: a bar at the edge of its input, and a mark beside its prompt. */
.jp-Cell[data-prefect-nb-state] {
  --pnb-line: var(--pnb-light);
  --pnb-fill: var(--pnb-light-fill);
  --pnb-ink: #1b1f23;
  position: relative;
}
body[data-jp-theme-light='false'] .jp-Cell[data-prefect-nb-state] {
  --pnb-line: var(--pnb-dark);
  --pnb-fill: var(--pnb-dark-fill);
  --pnb-ink: #f5f7f9;
}
.jp-Cell[data-prefect-nb-state] > .jp-Cell-inputWrapper {
  position: relative;
}
.jp-Cell[data-prefect-nb-state] > .jp-Cell-inputWrapper::after {
  position: absolute;
  top: 1px;
  bottom: 1px;
  inset-inline-start: calc(var(--jp-cell-collapser-width) + var(--jp-cell-prompt-width) - 3px);
  width: 3px;
  border-radius: 2px;
  background: var(--pnb-line);
  content: '';
  pointer-events: none;
}
.jp-Cell[data-prefect-nb-tone='waiting'] > .jp-Cell-inputWrapper::after,
.jp-Cell[data-prefect-nb-tone='idle'] > .jp-Cell-inputWrapper::after {
  opacity: 0.45;
}
.jp-Cell[data-prefect-nb-stale] > .jp-Cell-inputWrapper::after {
  background: repeating-linear-gradient(var(--pnb-line) 0 4px, transparent 4px 7px);
}
.jp-Cell[data-prefect-nb-tone='running'] > .jp-Cell-inputWrapper::after {
  animation: pnb-breathe 1.4s ease-in-out infinite alternate;
}
@keyframes pnb-breathe {
  to {
    opacity: 0.35;
  }
}
@media (prefers-reduced-motion: reduce) {
  .jp-Cell[data-prefect-nb-state] > .jp-Cell-inputWrapper::after {
    animation: none !important;
  }
}
.pnb-cell-mark {
  position: absolute;
  z-index: 1;
  top: calc(var(--jp-cell-padding) + 6px);
  inset-inline-start: calc(var(--jp-cell-padding) + var(--jp-cell-collapser-width) + 2px);
  width: 16px;
  height: 16px;
}
.pnb-cell-mark svg {
  display: block;
}
.pnb-cell-mark rect {
  fill: var(--pnb-fill);
  stroke: var(--pnb-line);
}
.pnb-cell-mark path {
  fill: none;
  stroke: var(--pnb-ink);
  stroke-width: 1.9;
  stroke-linecap: round;
  stroke-linejoin: round;
}
.pnb-cell-mark path.pnb-filled {
  fill: var(--pnb-ink);
}
.jp-RenderedFlow {
  padding: 0 2px;
  overflow: auto;
}
`,""]),r.d(e,{},{A:i})},403(n,e,r){var a=r(601),t=r.n(a),p=r(314),i=(r.n(p))()(t());i.push([n.id,`/* The live view. Colours of states come from the palette (set on the root); everything else from the page. */
.pnb {
  --ink: #1b1f23;
  --dim: #57606a;
  --page: var(--jp-layout-color1, #fff);
  --panel: color-mix(in srgb, var(--page) 96%, var(--ink));
  --rim: var(--jp-border-color2, #d5dae0);
  --wire: #8c96a1;
  --hot: #1257b8;
  --paper: #efe3c8;
  position: relative;
  box-sizing: border-box;
  container: pnb / inline-size;
  min-width: 280px;
  margin: 2px 0;
  border: 1px solid var(--rim);
  border-radius: 10px;
  background: var(--page);
  color: var(--ink);
  font: 13px/1.45 var(--jp-ui-font-family, system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif);
  text-align: start;
}
.pnb[data-theme='dark'] {
  --ink: #f5f7f9;
  --dim: #a8b2bd;
  --page: var(--jp-layout-color1, #15181b);
  --panel: color-mix(in srgb, var(--page) 93%, var(--ink));
  --rim: color-mix(in srgb, var(--page) 78%, var(--ink));
  --wire: #6f7a86;
  --hot: #a9d0ff;
  --paper: #5a4c2b;
  color-scheme: dark;
}
.pnb *,
.pnb *::before {
  box-sizing: border-box;
}
.pnb [hidden] {
  display: none !important;
}
.pnb-hidden {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

/* bar */
.pnb-bar {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px 10px;
  padding: 9px 12px;
  border-bottom: 1px solid var(--rim);
}
.pnb-flow {
  font-size: 15px;
  overflow-wrap: anywhere;
}
.pnb-chip {
  display: inline-flex;
  align-items: center;
  gap: 5px;
  font-weight: 600;
}
.pnb-counts,
.pnb-dim {
  color: var(--dim);
}
.pnb-space {
  flex: 1;
}
.pnb button {
  margin: 0;
  border: 1px solid var(--rim);
  border-radius: 6px;
  background: var(--page);
  color: var(--ink);
  font: inherit;
  font-size: 12px;
  line-height: 1.3;
  cursor: pointer;
}
.pnb button:hover {
  background: var(--panel);
}
.pnb button:focus-visible,
.pnb-list:focus-visible,
.pnb-pre:focus-visible,
.pnb-grid:focus-visible {
  outline: 2px solid var(--hot);
  outline-offset: 1px;
}
.pnb-switch {
  display: inline-flex;
}
.pnb-switch button {
  padding: 3px 11px;
  border-radius: 0;
}
.pnb-switch button + button {
  margin-inline-start: -1px;
}
.pnb-switch button:first-child {
  border-radius: 6px 0 0 6px;
}
.pnb-switch button:last-child {
  border-radius: 0 6px 6px 0;
}
.pnb-switch button[aria-pressed='true'] {
  border-color: var(--hot);
  background: var(--panel);
  font-weight: 600;
}
.pnb .pnb-icon {
  width: 26px;
  height: 25px;
  padding: 0;
  font-size: 14px;
}
.pnb .pnb-button {
  padding: 3px 10px;
}

/* banner and help */
.pnb-banner {
  display: flex;
  align-items: center;
  gap: 10px;
  padding: 6px 12px;
  border-bottom: 1px solid var(--rim);
  background: var(--f-waiting);
}
.pnb-banner[data-tone='busy'] {
  background: var(--f-paused);
}
.pnb-banner[data-tone='error'] {
  background: var(--f-failed);
}
.pnb-banner[data-tone='info'] {
  background: var(--f-cached);
}
.pnb-stale-view .pnb-stage {
  filter: grayscale(0.85);
  opacity: 0.75;
}
.pnb-help dl {
  display: grid;
  grid-template-columns: max-content 1fr;
  gap: 3px 14px;
  margin: 0;
  padding: 10px 14px;
  border-bottom: 1px solid var(--rim);
  background: var(--panel);
}
.pnb .pnb-help dt,
.pnb .pnb-help dd {
  float: none;
  width: auto;
  margin: 0;
  padding: 0;
  font-weight: 400;
}
.pnb-help kbd {
  white-space: nowrap;
  padding: 0 5px;
  border: 1px solid var(--rim);
  border-radius: 4px;
  background: var(--page);
  color: var(--ink);
  font: inherit;
  font-size: 12px;
}

/* body */
.pnb-body {
  display: flex;
  flex-wrap: wrap;
  align-items: stretch;
}
.pnb-stage {
  flex: 3 1 400px;
  min-width: 0;
  overflow: hidden;
}
.pnb-pane {
  display: flex;
  flex: 0 1 330px;
  flex-direction: column;
  min-width: 260px;
  max-height: 720px;
  border-inline-start: 1px solid var(--rim);
  background: var(--panel);
}

/* Beside the graph the details take its height, so that a long story leaves no empty room under a small graph. */
@container pnb (min-width: 760px) {
  .pnb-pane {
    contain: size;
    max-height: none;
  }
  .pnb-stage:has(+ .pnb-pane:not([hidden])) {
    min-height: 430px;
  }
}

/* graph */
.pnb-graph {
  display: block;
  width: 100%;
  min-height: 90px;
  cursor: grab;
  touch-action: pan-y;
  user-select: none;
}
.pnb-graph:active {
  cursor: grabbing;
}
.pnb-graph text {
  fill: var(--ink);
  font-family: inherit;
  font-size: 13px;
}
.pnb-graph .pnb-small {
  font-size: 11.5px;
}
.pnb-bold {
  font-weight: 600;
}
.pnb-glyph {
  fill: none;
  stroke: var(--ink);
  stroke-width: 1.7;
  stroke-linecap: round;
  stroke-linejoin: round;
}
.pnb-glyph.pnb-filled {
  fill: var(--ink);
}
.pnb-inner,
.pnb-ring {
  fill: none;
  stroke: none;
}
.pnb-wire {
  fill: none;
  stroke: var(--wire);
  stroke-width: 1.4;
}
.pnb-head {
  fill: var(--wire);
}
.pnb-hot .pnb-wire {
  stroke: var(--hot);
  stroke-width: 2.2;
}
.pnb-hot .pnb-head {
  fill: var(--hot);
}
.pnb-rule {
  stroke: var(--ink);
  opacity: 0.18;
}
.pnb-stale path:first-child {
  fill: var(--paper);
  stroke: var(--wire);
}
.pnb-node {
  cursor: pointer;
  outline: none;
}
.pnb-node:hover > .pnb-box {
  filter: brightness(1.05);
}
.pnb-node.pnb-selected > .pnb-ring {
  stroke: var(--hot);
  stroke-width: 1.5;
  stroke-dasharray: 2 2;
}
.pnb-node:focus-visible > .pnb-ring {
  stroke: var(--hot);
  stroke-width: 2.5;
  stroke-dasharray: none;
}
.pnb-node[data-state='Skipped'] + .pnb-seen > .pnb-bold:first-child {
  text-decoration: line-through;
}
.pnb-node[data-tone='running'] > .pnb-box,
.pnb-node[data-state='Cancelling'] > .pnb-box {
  animation: pnb-march 0.9s linear infinite;
}
.pnb-far text {
  opacity: 0;
}
@keyframes pnb-march {
  to {
    stroke-dashoffset: -20;
  }
}
.pnb-mark {
  flex: none;
  vertical-align: -5px;
}
.pnb-legend {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 14px;
  margin: 0;
  padding: 8px 14px;
  border-top: 1px solid var(--rim);
  color: var(--dim);
  font-size: 12px;
  list-style: none;
}
.pnb-legend li {
  display: inline-flex;
  align-items: center;
  gap: 5px;
  margin: 0;
}

/* list */
.pnb-list {
  max-height: 720px;
  overflow: auto;
}
.pnb .pnb-list table,
.pnb .pnb-facts table {
  width: 100%;
  margin: 0;
  border: 0;
  border-collapse: collapse;
  table-layout: auto;
  color: inherit;
  font-size: 12.5px;
}
.pnb .pnb-list th,
.pnb .pnb-list td {
  max-width: none;
  padding: 5px 8px;
  border: 0;
  border-bottom: 1px solid var(--rim);
  background: none;
  text-align: start;
  vertical-align: middle;
  white-space: nowrap;
}
.pnb .pnb-list thead th {
  position: sticky;
  top: 0;
  background: var(--panel);
  color: var(--dim);
  font-weight: 600;
}
.pnb .pnb-list tr {
  background: none;
}
.pnb .pnb-list tbody tr:hover,
.pnb .pnb-list tr.pnb-selected {
  background: var(--panel);
}
.pnb .pnb-list .pnb-reason {
  min-width: 170px;
  white-space: normal;
  overflow-wrap: anywhere;
}
.pnb .pnb-link {
  padding: 1px 2px;
  border: 0;
  background: none;
  font-weight: 600;
}
.pnb-actions {
  display: flex;
  flex-wrap: wrap;
  gap: 5px;
}
.pnb-list td.pnb-actions {
  display: table-cell;
}
.pnb-list td.pnb-actions button + button {
  margin-inline-start: 4px;
}

.pnb-list.pnb-long td,
.pnb-list.pnb-long th {
  height: 34px;
  max-width: 260px !important;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap !important;
}
.pnb .pnb-gap {
  padding: 0 !important;
  border: 0 !important;
}

/* search and filters */
.pnb .pnb-search {
  width: 120px;
  margin: 0;
  padding: 3px 8px;
  border: 1px solid var(--rim);
  border-radius: 6px;
  background: var(--page);
  color: var(--ink);
  font: inherit;
  font-size: 12px;
}
.pnb .pnb-search:focus-visible,
.pnb-window:focus-visible {
  outline: 2px solid var(--hot);
  outline-offset: 1px;
}
.pnb .pnb-filter {
  display: inline-flex;
  align-items: center;
  gap: 5px;
  padding: 2px 7px 2px 3px;
  border-color: transparent;
  background: none;
  color: var(--dim);
  font-size: 12px;
}
.pnb .pnb-filter[aria-pressed='true'] {
  border-color: var(--hot);
  background: var(--panel);
  color: var(--ink);
}
.pnb-seen {
  pointer-events: none;
}
.pnb-dimmed,
.pnb-dimmed + .pnb-seen {
  opacity: 0.22;
}
.pnb-arc {
  fill: none;
  stroke-width: 4;
}

/* items of a map */
.pnb-children {
  padding-bottom: 4px;
}
.pnb-strip {
  display: block;
  width: 100%;
  height: 14px;
  margin: 2px 0 5px;
  border: 1px solid var(--rim);
  border-radius: 4px;
}
.pnb-chips {
  display: flex;
  flex-wrap: wrap;
  margin-inline-start: -3px;
}
.pnb-children .pnb-search {
  width: 100%;
  margin: 3px 0 5px;
}
.pnb-window {
  overflow: auto;
  border: 1px solid var(--rim);
  border-radius: 6px;
}
.pnb .pnb-facts .pnb-window th,
.pnb .pnb-facts .pnb-window td {
  height: 27px;
  padding: 0 7px;
  white-space: nowrap;
  vertical-align: middle;
  font-family: inherit;
}
.pnb .pnb-facts .pnb-window td:last-child {
  max-width: 220px;
  overflow: hidden;
  text-overflow: ellipsis;
}
.pnb .pnb-window thead th {
  position: sticky;
  z-index: 1;
  top: 0;
  background: var(--panel);
}
.pnb .pnb-window th[aria-sort='ascending'] button::after {
  content: ' ↑';
}
.pnb .pnb-window th[aria-sort='descending'] button::after {
  content: ' ↓';
}
.pnb-matched {
  padding-top: 3px;
  font-size: 12px;
}

/* timeline */
.pnb-timeline {
  padding: 8px 12px;
}
.pnb-timehead,
.pnb-barrow {
  --name: clamp(90px, 24%, 220px);
}
.pnb-timehead {
  display: flex;
  align-items: flex-end;
  padding-inline-end: 14px;
}
.pnb-busy {
  flex: 0 0 var(--name);
  font-size: 12px;
}
.pnb-lane {
  flex: 1;
  height: 26px;
  border-bottom: 1px solid var(--rim);
}
.pnb-lanepath {
  fill: var(--f-running);
  stroke: none;
}
.pnb-axis {
  position: relative;
  height: 20px;
  margin-inline: var(--name) 14px;
  color: var(--dim);
  font-size: 11px;
}
.pnb-axis {
  margin-inline-start: clamp(90px, 24%, 220px);
}
.pnb-axis span {
  position: absolute;
  padding-inline-start: 3px;
  border-inline-start: 1px solid var(--rim);
  white-space: nowrap;
}
.pnb-rows {
  max-height: 620px;
  overflow: hidden auto;
  scrollbar-gutter: stable;
}
.pnb-room {
  position: relative;
}
.pnb-barrow {
  position: relative;
  display: flex;
  align-items: center;
  height: 26px;
}
.pnb-barname,
.pnb-track {
  z-index: 1;
  pointer-events: none;
}
.pnb .pnb-barline {
  position: absolute;
  inset: 0;
  width: 100%;
  padding: 0;
  border: 0;
  border-radius: 4px;
  background: none;
  text-align: start;
}
.pnb .pnb-barline[aria-pressed='true'] {
  background: var(--panel);
  box-shadow: inset 0 0 0 1px var(--hot);
}
.pnb-barname {
  flex: 0 0 var(--name);
  overflow: hidden;
  padding-inline-end: 8px;
  text-overflow: ellipsis;
  white-space: nowrap;
}
.pnb-track {
  position: relative;
  flex: 1;
  height: 18px;
}
.pnb-bar-box {
  position: absolute;
  top: 1px;
  min-width: 3px;
  height: 16px;
  border: 1px solid;
  border-radius: 4px;
}
.pnb-barwords {
  position: absolute;
  padding: 1px 5px;
  white-space: nowrap;
  font-size: 11px;
}

/* details */
.pnb-pane-head {
  display: flex;
  align-items: flex-start;
  gap: 9px;
  padding: 11px 12px 7px;
}
.pnb-pane-head > div {
  flex: 1;
  min-width: 0;
}
.pnb .pnb-pane h3 {
  margin: 0;
  color: var(--ink);
  font-size: 14px;
  line-height: 1.4;
  overflow-wrap: anywhere;
}
.pnb-pane > .pnb-actions {
  padding: 2px 12px 9px;
}
.pnb-facts {
  flex: 1;
  padding: 0 12px 12px;
  overflow: auto;
  border-top: 1px solid var(--rim);
  overflow-wrap: anywhere;
}
.pnb .pnb-facts h4 {
  margin: 11px 0 3px;
  color: var(--dim);
  font-size: 11px;
  font-weight: 600;
  letter-spacing: 0.05em;
  text-transform: uppercase;
}
.pnb .pnb-facts p {
  margin: 0;
}
.pnb-error {
  font-weight: 600;
}
.pnb .pnb-pre {
  max-height: 240px;
  margin: 3px 0 0;
  padding: 7px 9px;
  overflow: auto;
  border: 1px solid var(--rim);
  border-radius: 6px;
  background: var(--page);
  color: var(--ink);
  font: 11.5px/1.45 var(--jp-code-font-family, ui-monospace, 'DejaVu Sans Mono', monospace);
  white-space: pre-wrap;
}
.pnb-pre [data-stream='stderr'],
.pnb-pre [data-stream='ERROR'],
.pnb-pre [data-stream='CRITICAL'] {
  display: block;
  margin: 0 -4px;
  padding: 0 4px;
  border-inline-start: 3px solid var(--l-failed);
}
.pnb-pre [data-stream='WARNING'] {
  display: block;
  margin: 0 -4px;
  padding: 0 4px;
  border-inline-start: 3px solid var(--l-paused);
}
.pnb .pnb-history {
  margin: 0;
  padding: 0;
  list-style: none;
}
.pnb .pnb-history li {
  display: grid;
  grid-template-columns: 20px max-content max-content 1fr;
  gap: 0 7px;
  align-items: center;
  margin: 2px 0;
}
.pnb-history time {
  grid-column: 4;
  justify-self: end;
  font-variant-numeric: tabular-nums;
}
.pnb-message {
  grid-column: 2 / -1;
  color: var(--dim);
}
.pnb .pnb-facts th,
.pnb .pnb-facts td {
  max-width: none;
  padding: 2px 8px 2px 0;
  border: 0;
  background: none;
  text-align: start;
  vertical-align: top;
}
.pnb .pnb-facts th {
  color: var(--dim);
  font-weight: 400;
  white-space: nowrap;
}
.pnb-facts td,
.pnb-names {
  font-family: var(--jp-code-font-family, ui-monospace, 'DejaVu Sans Mono', monospace);
  font-size: 11.5px;
}
.pnb-changed td b {
  color: var(--l-failed);
  font-family: var(--jp-ui-font-family, sans-serif);
}
@media (prefers-reduced-motion: reduce) {
  .pnb-node > .pnb-box {
    animation: none !important;
  }
}
@media (forced-colors: active) {
  .pnb-graph text,
  .pnb-glyph.pnb-filled {
    fill: CanvasText;
  }
  .pnb-glyph,
  .pnb-box,
  .pnb-wire {
    stroke: CanvasText !important;
  }
  .pnb-box {
    fill: Canvas !important;
  }
}

.pnb-bar {
  fill: var(--ink);
}
.pnb-far {
  padding: 0 12px 8px;
  font-size: 12px;
}
.pnb figure .pnb-far {
  padding: 0;
}
.pnb-meter {
  height: 5px;
  overflow: hidden;
  border-radius: 3px;
  background: color-mix(in srgb, var(--page) 80%, var(--ink));
}
.pnb-meter i {
  display: block;
  height: 100%;
  background: var(--hot);
}
.pnb-meter.pnb-open i {
  background: repeating-linear-gradient(90deg, var(--hot) 0 6px, transparent 6px 12px);
}
.pnb figure {
  margin: 3px 0 10px;
}
.pnb figure img {
  max-width: 100%;
  border-radius: 3px;
  background: #fff;
}
.pnb figure a {
  color: var(--hot);
  text-decoration: underline;
}
.pnb .pnb-facts .pnb-md > * {
  margin: 0 0 6px;
}
.pnb .pnb-md h5 {
  color: var(--ink);
  font-size: 13px;
  font-weight: 600;
}
.pnb .pnb-md .pnb-h1 {
  font-size: 15px;
}
.pnb .pnb-md :is(ul, ol) {
  padding-inline-start: 20px;
}
.pnb .pnb-md blockquote {
  padding-inline-start: 8px;
  border-inline-start: 3px solid var(--rim);
}
.pnb .pnb-md code {
  background: none;
  color: inherit;
  font-size: 12px;
}
.pnb-grid {
  max-height: 300px;
  overflow: auto;
}
.pnb .pnb-grid :is(th, td) {
  white-space: nowrap;
}
.pnb .pnb-grid th {
  position: sticky;
  top: 0;
  background: var(--panel);
  color: var(--dim);
}
`,""]),r.d(e,{},{A:i})},314(n){n.exports=function(n){var e=[];return e.toString=function(){return this.map(function(e){var r="",a=void 0!==e[5];return e[4]&&(r+="@supports (".concat(e[4],") {")),e[2]&&(r+="@media ".concat(e[2]," {")),a&&(r+="@layer".concat(e[5].length>0?" ".concat(e[5]):""," {")),r+=n(e),a&&(r+="}"),e[2]&&(r+="}"),e[4]&&(r+="}"),r}).join("")},e.i=function(n,r,a,t,p){"string"==typeof n&&(n=[[null,n,void 0]]);var i={};if(a)for(var o=0;o<this.length;o++){var l=this[o][0];null!=l&&(i[l]=!0)}for(var d=0;d<n.length;d++){var s=[].concat(n[d]);a&&i[s[0]]||(void 0!==p&&(void 0===s[5]||(s[1]="@layer".concat(s[5].length>0?" ".concat(s[5]):""," {").concat(s[1],"}")),s[5]=p),r&&(s[2]&&(s[1]="@media ".concat(s[2]," {").concat(s[1],"}")),s[2]=r),t&&(s[4]?(s[1]="@supports (".concat(s[4],") {").concat(s[1],"}"),s[4]=t):s[4]="".concat(t)),e.push(s))}},e}},601(n){n.exports=function(n){return n[1]}},72(n){var e=[];function r(n){for(var r=-1,a=0;a<e.length;a++)if(e[a].identifier===n){r=a;break}return r}function a(n,a){for(var t={},p=[],i=0;i<n.length;i++){var o=n[i],l=a.base?o[0]+a.base:o[0],d=t[l]||0,s="".concat(l," ").concat(d);t[l]=d+1;var b=r(s),c={css:o[1],media:o[2],sourceMap:o[3],supports:o[4],layer:o[5]};if(-1!==b)e[b].references++,e[b].updater(c);else{var f=function(n,e){var r=e.domAPI(e);return r.update(n),function(e){e?(e.css!==n.css||e.media!==n.media||e.sourceMap!==n.sourceMap||e.supports!==n.supports||e.layer!==n.layer)&&r.update(n=e):r.remove()}}(c,a);a.byIndex=i,e.splice(i,0,{identifier:s,updater:f,references:1})}p.push(s)}return p}n.exports=function(n,t){var p=a(n=n||[],t=t||{});return function(n){n=n||[];for(var i=0;i<p.length;i++){var o=r(p[i]);e[o].references--}for(var l=a(n,t),d=0;d<p.length;d++){var s=r(p[d]);0===e[s].references&&(e[s].updater(),e.splice(s,1))}p=l}}},659(n){var e={};n.exports=function(n,r){var a=function(n){if(void 0===e[n]){var r=document.querySelector(n);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(n){r=null}e[n]=r}return e[n]}(n);if(!a)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");a.appendChild(r)}},540(n){n.exports=function(n){var e=document.createElement("style");return n.setAttributes(e,n.attributes),n.insert(e,n.options),e}},56(n,e,r){n.exports=function(n){var e=r.nc;e&&n.setAttribute("nonce",e)}},825(n){n.exports=function(n){if("u"<typeof document)return{update:function(){},remove:function(){}};var e=n.insertStyleElement(n);return{update:function(r){var a,t,p;a="",r.supports&&(a+="@supports (".concat(r.supports,") {")),r.media&&(a+="@media ".concat(r.media," {")),(t=void 0!==r.layer)&&(a+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),a+=r.css,t&&(a+="}"),r.media&&(a+="}"),r.supports&&(a+="}"),(p=r.sourceMap)&&"u">typeof btoa&&(a+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(p))))," */")),n.styleTagTransform(a,e,n.options)},remove:function(){var n;null===(n=e).parentNode||n.parentNode.removeChild(n)}}}},113(n){n.exports=function(n,e){if(e.styleSheet)e.styleSheet.cssText=n;else{for(;e.firstChild;)e.removeChild(e.firstChild);e.appendChild(document.createTextNode(n))}}},859(n,e,r){var a=r(72),t=r.n(a),p=r(825),i=r.n(p),o=r(659),l=r.n(o),d=r(56),s=r.n(d),b=r(540),c=r.n(b),f=r(113),x=r.n(f),h=r(403),g={};g.styleTagTransform=x(),g.setAttributes=s(),g.insert=l().bind(null,"head"),g.domAPI=i(),g.insertStyleElement=c(),t()(h.A,g),h.A&&h.A.locals&&h.A.locals;var m=r(821),u={};u.styleTagTransform=x(),u.setAttributes=s(),u.insert=l().bind(null,"head"),u.domAPI=i(),u.insertStyleElement=c(),t()(m.A,u),m.A&&m.A.locals&&m.A.locals}}]);