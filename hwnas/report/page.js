"use strict";
// What a page does beyond being read: texts of marks under a pointer or arrow keys, and tables that sort and filter.
(() => {
  const made = (tag, facts) => Object.assign(document.createElement(tag), facts);

  const tip = made("div", { className: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);

  const charts = [...document.querySelectorAll("svg.chart")].filter((chart) => chart.querySelector(".mark"));
  for (const chart of charts) {
    const marks = [...chart.querySelectorAll(".mark")].map((mark) => {
      const title = mark.querySelector("title");
      const { e: x, f: y } = mark.transform.baseVal.consolidate().matrix;
      title.remove();
      return { mark, text: title.textContent, x, y };
    });
    const inOrder = [...marks].sort((one, other) => one.x - other.x || one.y - other.y);
    let shown = null;

    const show = (next) => {
      if (shown) shown.mark.classList.remove("shown");
      shown = next;
      tip.hidden = !next;
      if (!next) return;
      next.mark.classList.add("shown");
      tip.textContent = next.text;
      const box = next.mark.getBoundingClientRect();
      const middle = box.left + box.width / 2;
      const left = Math.min(Math.max(8, middle - tip.offsetWidth / 2), document.documentElement.clientWidth - tip.offsetWidth - 8);
      const above = box.top - tip.offsetHeight - 8;
      tip.style.left = `${left + scrollX}px`;
      tip.style.top = `${(above > 0 ? above : box.bottom + 8) + scrollY}px`;
    };
    chart.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
      const far = (one) => Math.hypot(one.x - at.x, one.y - at.y);
      const nearest = marks.reduce((best, one) => (far(one) < far(best) ? one : best));
      show(far(nearest) < 22 ? nearest : null);
    });
    chart.addEventListener("pointerleave", () => show(null));
    chart.addEventListener("blur", () => show(null));
    chart.setAttribute("tabindex", "0");
    chart.setAttribute("aria-description", "Arrow keys go from point to point.");
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      const place = { Home: 0, End: inOrder.length - 1 }[event.key];
      if (event.key === "Escape") show(null);
      if (step === undefined && place === undefined) return;
      event.preventDefault();
      const now = shown ? inOrder.indexOf(shown) : step > 0 ? -1 : inOrder.length;
      show(inOrder[place ?? Math.min(Math.max(now + step, 0), inOrder.length - 1)]);
    });
  }

  const words = (row, column) => row.cells[column].firstChild?.textContent.trim() ?? "";
  const amount = (text) => {
    const found = /^[\d,]*\.?\d+/.exec(text);
    const unit = { k: 1e3, M: 1e6, G: 1e9 }[/^\S+ ([kMG])$/.exec(text)?.[1]] ?? 1;
    return found ? Number(found[0].replaceAll(",", "")) * unit : null;
  };
  for (const table of document.querySelectorAll("table.sorts")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = made("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && column === 0);
        for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const numeric = [...body.rows].every((row) => ["", "–"].includes(words(row, column)) || amount(words(row, column)) !== null);
        const compare = (one, other) =>
          numeric ? (amount(one) ?? -1) - (amount(other) ?? -1) : one.localeCompare(other, undefined, { numeric: true });
        const rows = [...body.rows].sort((one, other) => compare(words(one, column), words(other, column)));
        body.append(...(up ? rows : rows.reverse()));
      });
    });
    if (body.rows.length > 7 && table.dataset.filter) {
      const label = made("label", { className: "filter", textContent: `${table.dataset.filter} ` });
      const input = made("input", { type: "search" });
      label.append(input);
      table.parentElement.before(label);
      input.addEventListener("input", () => {
        for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(input.value.toLowerCase().trim());
      });
    }
  }

  for (const code of document.querySelectorAll("pre")) {
    if (!navigator.clipboard) break;
    const button = made("button", { type: "button", className: "copy", textContent: "Copy" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    });
    code.before(button);
  }

  addEventListener("beforeprint", () => document.querySelectorAll("details.printed").forEach((one) => (one.open = true)));
})();
