// Comfort only: without it everything is there, folded. It filters, opens, zooms and keeps the theme.
"use strict";
(() => {
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- Theme: the system's, until somebody says otherwise ---------------------------------------------
  const theme = find("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = { // A page opened from a file may not have a storage.
    get: () => { try { return localStorage.getItem("sagestack-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("sagestack-theme", value); } catch { /* not kept */ } },
  };
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
  if (["dark", "light"].includes(kept.get())) root.dataset.theme = kept.get();
  theme.hidden = false;
  label();
  system.addEventListener("change", label);
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; kept.set(root.dataset.theme); label(); });

  // --- Print: paper cannot be unfolded ------------------------------------------------------------------
  let closed = [];
  const unfold = () => { closed = closed.concat(all("details:not([open])")); closed.forEach((one) => { one.open = true; }); };
  const fold = () => { closed.forEach((one) => { one.open = false; }); closed = []; };
  addEventListener("beforeprint", unfold);
  addEventListener("afterprint", fold);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? unfold() : fold()));

  // --- Pictures -----------------------------------------------------------------------------------------
  for (const tools of all("[data-zoom]")) {
    const drawing = tools.nextElementSibling.querySelector("svg");
    if (!drawing) continue;
    const natural = drawing.viewBox.baseVal.width || drawing.getBoundingClientRect().width;
    tools.hidden = false;
    for (const button of all("button", tools)) button.addEventListener("click", () => {
      const by = Number(button.dataset.by);
      const width = by ? Math.min(Math.max(drawing.getBoundingClientRect().width * by, natural / 10), natural * 8) : 0;
      drawing.style.height = "auto";
      drawing.style.width = width ? `${width}px` : "100%";
    });
    // The corner of a large drawing may be empty, and says little: begin where the gravest change is drawn.
    const begin = () => {
      const marks = ["deleted", "replaced", "updated", "created"].map((mark) => `text[fill^="var(--${mark}"]`);
      const first = [...marks, "text"].map((mark) => drawing.querySelector(mark)).find(Boolean);
      if (!first || !drawing.getBoundingClientRect().width) return;
      const canvas = tools.nextElementSibling, at = first.getBoundingClientRect(), frame = canvas.getBoundingClientRect();
      if (at.right > frame.right || at.bottom > frame.bottom) {
        canvas.scrollBy(at.left - frame.left - frame.width / 3, at.top - frame.top - frame.height / 3);
      }
    };
    tools.closest("details").addEventListener("toggle", begin, { once: true });
    begin();
  }

  // --- Filters --------------------------------------------------------------------------------------------
  const form = find("filters");
  if (!form) return;
  const items = all("[data-item]").map((element) => ({
    element: element.closest("li"), data: element.dataset, text: element.textContent.toLowerCase(),
  }));
  const kinds = ["environments", "severity", "stack", "type"];
  const chosen = Object.fromEntries(kinds.map((kind) => [kind, find(`filter-${kind}`)]));
  for (const kind of ["stack", "type"]) {
    const counts = new Map();
    for (const { data } of items) counts.set(data[kind], (counts.get(data[kind]) || 0) + 1);
    for (const [value, count] of [...counts].sort()) chosen[kind].add(new Option(`${value} (${count})`, value));
  }
  const search = find("search");
  const openAll = find("open-all");

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const isFiltered = words.length > 0 || kinds.some((kind) => chosen[kind].value);
    let shown = 0;
    for (const { element, data, text } of items) {
      const matches = kinds.every((kind) => {
        const wanted = chosen[kind].value;
        return !wanted || (kind === "environments" ? data[kind].split(" ").includes(wanted) : data[kind] === wanted);
      }) && words.every((word) => text.includes(word));
      element.hidden = !matches;
      shown += matches;
    }
    // What has nothing left to show goes; what hides a match opens.
    for (const block of all("[data-block], [data-stack-fold]").reverse()) {
      const has = all("[data-item]", block).some((item) => !item.closest("li").hidden);
      block.hidden = isFiltered && !has;
      if (block.matches("[data-stack-fold]") && isFiltered && has) block.open = true;
    }
    find("shown").textContent = isFiltered ? `${shown} of ${items.length} shown` : "";
    find("more-filters").classList.toggle("active", kinds.some((kind) => chosen[kind].value));
  };
  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
  for (const kind of kinds) chosen[kind].addEventListener("change", apply);
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("reset", () => { setTimeout(() => { apply(); search.focus(); }); });
  openAll.addEventListener("click", () => {
    const isOpen = openAll.getAttribute("aria-pressed") !== "true";
    for (const one of all("main details")) one.open = isOpen;
    openAll.setAttribute("aria-pressed", String(isOpen));
    openAll.textContent = isOpen ? "Close all" : "Open all";
  });
  const more = find("more-filters");
  more.addEventListener("click", () => { const isOpen = form.classList.toggle("opened"); more.setAttribute("aria-expanded", String(isOpen)); });
  form.hidden = false;
  if (search.value || kinds.some((kind) => chosen[kind].value)) apply(); // the browser may have kept them
})();
