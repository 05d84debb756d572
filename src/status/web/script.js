// Keeps a page current. Nothing here is needed to read it.
"use strict";

(() => {
  const MOST_LINES = 2000;
  const PAUSE = 1000;
  const PATIENCE = 10000;

  const byId = (id) => document.getElementById(id);
  const main = () => byId("main");

  let source = null;
  let heard = "";
  let timer = 0;
  let newest = 0;
  let grown = false;
  let torn = false;
  let busy = false;
  let again = false;

  const say = (text) => {
    byId("live").textContent = text;
  };

  const atEnd = () =>
    window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 48;
  const toEnd = () => window.scrollTo(0, document.documentElement.scrollHeight);

  // Opens the stream that the page names, closes it if the page names none.
  const listen = () => {
    const url = main().dataset.live || "";
    if (url === heard && source && source.readyState !== EventSource.CLOSED) return;
    if (source) source.close();
    source = null;
    heard = url;
    if (!url) return say("");
    source = new EventSource(url);
    source.onopen = () => say(main().classList.contains("old") ? "" : "live,");
    source.onerror = () => {
      say("not live now,");
      // After an answer that is no stream the browser gives up; we do not.
      if (!source || source.readyState !== EventSource.CLOSED) return;
      torn = true;
      setTimeout(refresh, PATIENCE);
    };
    source.addEventListener("changed", later);
    source.addEventListener("lines", (event) => append(JSON.parse(event.data)));
  };

  // At most once a second.
  const later = () => {
    if (timer) return;
    timer = setTimeout(refresh, Math.max(0, newest + PAUSE - Date.now()));
  };

  const refresh = async () => {
    timer = 0;
    again = busy;
    if (busy) return;
    busy = true;
    newest = Date.now();
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-cache" });
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      say("not live now,");
    }
    busy = false;
    listen();
    if (again) later();
  };

  const grows = (page) => (page.dataset.live || "").includes("step=");

  const replace = (page) => {
    const old = main();
    const next = page.getElementById("main");
    if (!next) return;
    const followed = page.getElementById("end") && atEnd();
    const focused = old.contains(document.activeElement) && document.activeElement;
    const open = [...old.querySelectorAll("details[open]")].map((details) => details.id);
    // A log that the reader chose is left alone, and its stream goes on where its lines end. Once there is no more to
    // come, the new page has it all.
    const kept = old.dataset.chosen === "reader" && next.dataset.live && !torn;
    if (kept && grows(old) === grows(next)) {
      next.dataset.live = old.dataset.live;
      next.querySelector("#log").replaceWith(byId("log"));
    } else if (grown) {
      // The new page's log need not end where the stream has come to.
      heard = "";
      grown = false;
    }
    torn = false;
    for (const id of open) {
      const details = next.querySelector("#" + id);
      if (details) details.open = true;
    }
    const top = window.scrollY;
    old.replaceWith(document.adoptNode(next));
    if (followed) toEnd();
    else window.scrollTo(0, top);
    if (focused && focused.getAttribute("href")) {
      const same = (link) => link.getAttribute("href") === focused.getAttribute("href");
      const link = [...next.querySelectorAll("a")].find(same);
      if (link) link.focus({ preventScroll: true });
    }
    // Unchanged text is not announced again.
    const summary = page.getElementById("summary");
    if (summary && summary.innerHTML !== byId("summary").innerHTML)
      byId("summary").replaceChildren(...summary.childNodes);
    byId("asof").replaceWith(page.getElementById("asof"));
    document.title = page.title;
  };

  // Lines come as [number, html]. The html is the server's own, escaped there as on the page.
  const append = (lines) => {
    const list = byId("lines");
    if (!list || !lines.length) return;
    const followed = atEnd();
    grown = true;
    if (byId("instead")) byId("instead").remove();
    for (const [number, html] of lines) {
      let line = list.lastElementChild;
      if (!line || line.id !== "L" + number) {
        line = document.createElement("li");
        line.id = "L" + number;
        const anchor = document.createElement("a");
        anchor.href = "#L" + number;
        anchor.textContent = number;
        line.append(anchor, document.createElement("code"));
        list.append(line);
      }
      line.lastElementChild.insertAdjacentHTML("beforeend", html);
    }
    while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    if (followed) toEnd();
  };

  // j and k: the next and the previous problem.
  const step = (by) => {
    const problems = [...main().querySelectorAll("td a.f, td a.m")];
    if (!problems.length) return;
    const at = problems.indexOf(document.activeElement);
    const to = at < 0 && by < 0 ? problems.length - 1 : (at + by + problems.length) % problems.length;
    problems[to].focus();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  });

  listen();
})();
