// The live tail: rows come as events and go on top of the list; they wait while a pointer rests on it or text in it is selected.
(() => {
  "use strict";
  const MOST = 200;
  let source = null, body = null, waiting = [], seen = 0, missed = 0, timer = 0, trouble = "";
  const reading = () => body.matches(":hover") || getSelection()?.type === "Range";

  function say() {
    timer ||= setTimeout(write, 1000);  // a voice that reads the page aloud must get to its end
  }

  function write() {
    timer = 0;
    const words = document.querySelector("[data-tail-words]");
    if (!words) return;
    const parts = [`${seen.toLocaleString("en")} came since you began to follow`];
    if (missed) parts.push(`${missed.toLocaleString("en")} more were left out: too many at once`);
    if (waiting.length) parts.push("the newest wait while you read");
    words.textContent = `${trouble || parts.join("; ")}.`;
  }

  function show() {
    if (!body || reading()) return;
    for (const rows of waiting.splice(0)) {
      for (const row of rows.children) row.classList.add("fresh");
      body.prepend(rows);
    }
    while (body.children.length > MOST) body.lastElementChild.remove();
  }

  function follow() {
    const wanted = document.querySelector("[data-tail]");
    if (wanted === body) return;
    source?.close();
    [source, body, waiting, seen, missed, trouble] = [null, wanted, [], 0, 0, ""];
    if (!body) return;
    listen();
  }

  function listen() {
    source = new EventSource(body.dataset.tail);
    source.addEventListener("rows", (event) => {
      const rows = document.createElement("template");
      rows.innerHTML = event.data;
      seen += rows.content.children.length;
      waiting.push(rows.content);
      waiting.splice(0, waiting.length - 20);
      show();
      say();
    });
    source.addEventListener("missed", (event) => { missed += Number(event.data); say(); });
    source.onopen = () => { if (trouble) say(); trouble = ""; };
    source.onerror = () => {
      trouble = "The stream broke off; it is opened again by itself";
      say();
      if (source?.readyState === EventSource.CLOSED) {  // refused, as while the controller starts again: the browser tries no more
        const mine = body;
        setTimeout(() => { if (mine === body && body) listen(); }, 3000);
      }
    };
  }

  addEventListener("DOMContentLoaded", follow);
  document.addEventListener("pointerout", show);
  new MutationObserver(follow).observe(document.documentElement, { childList: true, subtree: true });
})();
