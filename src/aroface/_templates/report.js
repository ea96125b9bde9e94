"use strict";
(() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const form = document.querySelector("form.compare");
  const [one, other, table, said] = ["one", "other", "pair", "said"].map((id) => document.getElementById(id));
  if (Object.keys(settings).length > 1) form.hidden = false;
  const show = () => {
    const [a, b] = [settings[one.value], settings[other.value]];
    const keys = Object.keys({ ...a, ...b }).filter((key) => a[key] !== b[key]);
    const rows = keys.map((key) => {
      const row = document.createElement("tr");
      for (const [tag, text] of [["th", key], ["td", a[key]], ["td", b[key]]]) {
        const cell = document.createElement(tag);
        if (tag === "th") cell.scope = "row";
        else cell.className = "text";
        cell.textContent = text === undefined ? "–" : text;
        row.append(cell);
      }
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
    table.hidden = keys.length === 0;
    said.textContent = keys.length ? `${keys.length} ${keys.length === 1 ? "setting differs" : "settings differ"}.` : "No setting differs.";
  };
  if (one.value && other.value) {
    one.addEventListener("change", show);
    other.addEventListener("change", show);
    show();
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => {
    const panel = document.querySelector(".why:target");
    const cell = document.activeElement.closest("td");
    const hidden = panel && cell ? cell.getBoundingClientRect().bottom - panel.getBoundingClientRect().top : 0;
    if (hidden > 0) scrollBy(0, hidden + 16);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.querySelector(".why:target")) location.hash = "closed";
  });
})();
