// What the pages do beyond links and forms: renew themselves, answer a pointer on a chart, and `/` for the filter.
(() => {
  "use strict";
  const page = () => document.getElementById("page");
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const tokenOf = { w1: "water-1", w2: "water-2", w3: "water-3", w4: "water-4", w5: "water-5" };
  const dollars = (value) => "$" + value.toLocaleString("en", value >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });

  // A page renews itself unless somebody is busy with it; when nobody answers, it says so and keeps what it has.
  const busy = () => {
    const at = document.activeElement;
    const reading = at !== page() && page().contains(at);
    return document.hidden || reading || document.querySelector(".chart:hover, details[open]") || getSelection()?.type === "Range";
  };
  let renewed = Date.now();
  async function renew() {
    let fresh = null;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("page");
    } catch {
      // nobody answers: told below
    }
    document.getElementById("stale").hidden = Boolean(fresh);
    if (!fresh || busy()) return;
    const focused = document.activeElement === page();
    page().replaceWith(fresh);
    if (focused) fresh.focus({ preventScroll: true });
    htmx.process(fresh);
    settle();
  }
  setInterval(() => {
    const every = Number(page()?.dataset.refresh) * 1000;
    if (!every || Date.now() - renewed < every || busy()) return;
    renewed = Date.now();
    renew();
  }, 1000);

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const filter = document.querySelector("[data-filter]");
    if (!filter) return;
    event.preventDefault();
    filter.focus();
    filter.select();
  });

  // Stacked columns: the same numbers as in the figure that the server drew, which stays where it is without script.
  function chart(figure) {
    const { days, series, notes } = JSON.parse(figure.dataset.chart);
    const below = days.map(() => 0);
    const tops = series.map((layer) => layer.values.map((value, day) => (below[day] += value)));
    const plot = document.createElement("div");
    const readout = document.createElement("div");
    plot.className = "plot";
    readout.className = "readout";
    readout.hidden = true;
    const size = () => ({ width: figure.clientWidth, height: 280 });
    const colours = () => series.map((layer) => token(tokenOf[layer.kind]));
    let fills = colours();
    const columns = (u) => {
      const step = u.bbox.width / days.length;
      const { ctx } = u;
      ctx.save();
      for (let layer = series.length - 1; layer >= 0; layer--) {
        ctx.fillStyle = fills[layer];
        tops[layer].forEach((top, day) => {
          const y = u.valToPos(top, "y", true);
          ctx.fillRect(u.bbox.left + (day + 0.08) * step, y, step * 0.84, u.bbox.top + u.bbox.height - y);
        });
      }
      ctx.font = `600 ${12 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
      ctx.textAlign = "center";
      ctx.fillStyle = ctx.strokeStyle = token("copper");
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      for (const [day, letter] of notes) {
        const x = u.bbox.left + (day + 0.5) * step;
        ctx.beginPath();
        ctx.moveTo(x, u.bbox.top - 4 * devicePixelRatio);
        ctx.lineTo(x, u.bbox.top + u.bbox.height);
        ctx.stroke();
        ctx.fillText(letter, x, u.bbox.top - 9 * devicePixelRatio);
      }
      ctx.restore();
    };
    const tell = (u) => {
      const day = u.cursor.idx;
      readout.hidden = day == null || u.cursor.left < 0;
      if (readout.hidden) return;
      const line = (name, value, kind) => {
        const row = document.createElement("span");
        row.className = kind;
        row.append(name, document.createElement("i"));
        row.lastChild.textContent = dollars(value);
        return row;
      };
      const title = document.createElement("b");
      title.textContent = days[day];
      const rows = series.map((layer) => line(layer.name, layer.values[day], "")).reverse();
      readout.replaceChildren(title, ...rows, line("all", below[day], "sum"));
      const at = u.cursor.left + u.bbox.left / devicePixelRatio;
      const right = at > figure.clientWidth / 2;
      readout.style.left = right ? "auto" : `${at + 14}px`;
      readout.style.right = right ? `${figure.clientWidth - at + 14}px` : "auto";
    };
    const axis = { stroke: () => token("soft"), font: `12px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
    figure.append(plot, readout);
    const u = new uPlot(
      {
        ...size(),
        padding: [26, 0, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: { x: { time: false, range: [-0.5, days.length - 0.5] }, y: { range: (_, __, most) => [0, most * 1.05 || 1] } },
        axes: [
          { ...axis, size: 24, gap: 6, grid: { show: false }, splits: () => labels(days.length, figure.clientWidth), values: (_, at) => at.map((day) => days[day]) },
          { ...axis, size: 46, gap: 4, grid: { stroke: () => token("hair"), width: 1 }, values: (_, at) => at.map(dollars) },
        ],
        series: [{}, ...series.map(() => ({ paths: () => null, points: { show: false } }))],
        hooks: { draw: [columns], setCursor: [tell] },
      },
      [days.map((_, day) => day), ...tops],
      plot,
    );
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      fills = colours();
      u.redraw();
    });
    new ResizeObserver(() => u.setSize(size())).observe(figure);
  }

  const labels = (count, width) => {
    const every = Math.ceil(count / Math.max(2, Math.floor(width / 110)));
    return Array.from({ length: count }, (_, day) => day).filter((day) => day % every === Math.floor(every / 2));
  };

  function settle() {
    document.querySelectorAll("[data-chart]:not([data-drawn])").forEach((figure) => {
      figure.dataset.drawn = "";
      chart(figure);
    });
  }

  // A page that takes its time looks like it.
  document.addEventListener("htmx:before:request", () => page()?.setAttribute("aria-busy", "true"));
  document.addEventListener("htmx:finally:request", () => page()?.removeAttribute("aria-busy"));

  // What is no page of ours (the console is away, or wants a key again) is shown as it is.
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.select !== "#page" || ctx.text?.includes('id="page"')) return;
    event.preventDefault();
    location.assign(ctx.request.action);
  });
  document.addEventListener("htmx:after:swap", () => {
    renewed = Date.now();
    if (document.activeElement === document.body) page()?.focus({ preventScroll: true });
    settle();
  });
  settle();
})();
