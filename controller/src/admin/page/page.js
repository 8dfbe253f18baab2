// Asks for the page again every two seconds and puts in what changed. What stays, stays: the node of the document, so that
// the keyboard, a selection and what is unfolded are where they were. Without this script the page is as it was loaded.
"use strict";

(() => {
  const every = 2000;
  const updates = document.getElementById("updates");
  const said = document.createElement("span");
  const button = document.createElement("button");
  button.type = "button";
  let paused = false;
  let timer = 0;

  const say = (text) => {
    if (said.textContent !== text) said.textContent = text;
  };

  // Makes `here` what `there` is. Elements are the same when their name and id are.
  const become = (here, there) => {
    if (here.nodeType !== there.nodeType || here.nodeName !== there.nodeName || here.id !== there.id) {
      here.replaceWith(there);
      return;
    }
    if (here.nodeType !== Node.ELEMENT_NODE) {
      if (here.nodeValue !== there.nodeValue) here.nodeValue = there.nodeValue;
      return;
    }
    // what somebody types is theirs
    if (here === document.activeElement && here.nodeName === "INPUT") return;
    for (const { name } of [...here.attributes]) {
      if (!there.hasAttribute(name) && !(here.nodeName === "DETAILS" && name === "open")) here.removeAttribute(name);
    }
    for (const { name, value } of there.attributes) {
      if (here.getAttribute(name) !== value) here.setAttribute(name, value);
    }
    // rows that have an id are found by it, wherever they are now
    const known = new Map();
    for (const child of here.children) if (child.id) known.set(child.id, child);
    let next = here.firstChild;
    for (const child of [...there.childNodes]) {
      const mine = child.id ? known.get(child.id) : next && !next.id ? next : null;
      if (!mine) {
        here.insertBefore(child, next);
        continue;
      }
      if (mine === next) next = next.nextSibling;
      else here.insertBefore(mine, next);
      become(mine, child);
    }
    while (next) {
      const after = next.nextSibling;
      next.remove();
      next = after;
    }
  };

  const look = async () => {
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = page.getElementById("main");
      if (!main) throw new Error("no page");
      become(document.getElementById("main"), main);
      say(answer.ok ? "Updates itself every 2 s. " : "The controller is starting or stopping. ");
    } catch {
      say("The controller does not answer; this is what it said last. ");
    }
  };

  const go = async () => {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    await look();
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(go, every);
  };

  const turn = () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    if (paused) {
      clearTimeout(timer);
      say("Paused. ");
    } else {
      go();
    }
  };

  button.textContent = "Pause";
  button.addEventListener("click", turn);
  say("Updates itself every 2 s. ");
  updates.replaceChildren(said, button);
  document.addEventListener("visibilitychange", go);
  timer = setTimeout(go, every);
})();
