// What has to be live on the pages: lists that change at once, and texts that stream in. Without it, links and forms
// do the same by loading pages; only what changes the shop needs it.
const root = new URL(document.documentElement.dataset.root, location.href);
const said = document.getElementById("said");
const address = () => location.pathname + location.search;
let shown = address();  // what is shown, or on its way to where the page already is
let newest = { isPending: false };  // the load that was begun last

function say(text, isProblem = false) {
  said.textContent = text;
  said.classList.toggle("bad", isProblem);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, isProblem ? 12000 : 6000);
}

async function post(path, body) {
  return ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

async function ask(path, options) {
  const answer = await fetch(new URL(path, root), options);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error ?? `The service answered ${answer.status}.`);
}

function reveal(within) {
  for (const one of within.querySelectorAll(".live[hidden]")) one.hidden = false;
}

const itemsOf = (within) => [...within.querySelectorAll(".list > [data-item]")].map((one) => one.dataset.item);

// Load a page's address and show its main part in place of this one's: how many items are new. What comes after a newer
// load was begun is dropped, and null returned.
async function show(url, { push = true, renews = false } = {}) {
  const main = document.getElementById("main");
  const load = newest = { isPending: true, renews };
  if (!push) shown = address();
  main.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(url, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("main");
    if (load !== newest) return null;
    if (!next) throw new Error(`The service answered ${answer.status}.`);
    const before = new Set(itemsOf(main));
    document.title = page.title;
    main.replaceChildren(...next.childNodes);
    if (push) history.pushState(null, "", url);
    shown = address();
    reveal(main);
    const fresh = itemsOf(main).filter((item) => !before.has(item));
    if (before.size) {
      for (const item of fresh) main.querySelector(`.list > [data-item="${CSS.escape(item)}"]`).classList.add("fresh");
    }
    return fresh.length;
  } catch (error) {
    if (load !== newest) return null;
    throw error;
  } finally {
    load.isPending = false;
    if (load === newest) main.removeAttribute("aria-busy");
  }
}

// Show this page anew, unless another one is on its way.
async function renew() {
  const leaves = newest.isPending && !newest.renews;
  return leaves ? null : show(location.href, { push: false, renews: true });
}

// What a load has changed, in words: of a page without a list, what it says first. A refusal is read out by itself.
function told(fresh) {
  const main = document.getElementById("main");
  if (main.querySelector("[role=alert]")) return "";
  if (itemsOf(main).length) return fresh === 1 ? "The list has changed: 1 new item." : `The list has changed: ${fresh} new items.`;
  return (main.querySelector("[data-told]") ?? main.querySelector("h1"))?.textContent.trim() ?? "";
}

async function go(url) {
  try {
    const fresh = await show(url);
    if (fresh === null) return;
    document.getElementById("main").focus({ preventScroll: true });
    say(told(fresh));
  } catch (error) {
    say(error.message, true);
  }
}

// crypto.randomUUID is missing where a page comes over plain http.
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(button) {
  const item = button.closest("[data-item]");
  const results = button.closest("[data-user]");
  // Kept until there is a receipt: the service may have stored what it gave no answer to, and knows it by its id then.
  button.dataset.eventId ??= newId();
  const event = {
    event_id: button.dataset.eventId, user_id: results.dataset.user, item_id: item.dataset.item, event: button.dataset.event,
  };
  if (button.dataset.value) event.value = Number(button.dataset.value);
  if (results.dataset.answer) {
    Object.assign(event, { recommendation_id: results.dataset.answer, position: Number(item.dataset.position) });
  }
  button.disabled = true;
  try {
    const receipt = await (await post("v1/events", { events: [event] })).json();
    delete button.dataset.eventId;
    if (!receipt.accepted && !receipt.duplicates) {
      throw new Error(`Not stored: the shop's settings leave out events of the name ${event.event}.`);
    }
    const fresh = await renew();
    const words = `${receipt.pushed ? "Stored" : "Stored, and counted shortly"}: ${event.event}.`;
    if (fresh === null) {
      button.disabled = false;
      say(words);
      return;
    }
    say(`${words} ${told(fresh)}`);
    (document.querySelectorAll(".list > [data-item]")[Number(item.dataset.position) - 1] ?? document.getElementById("main"))
      .querySelector("a")?.focus({ preventScroll: true });
  } catch (error) {
    button.disabled = false;
    say(error.message, true);
  }
}

// A text, sentence by sentence, by server-sent events.
async function write(button) {
  const item = button.closest("[data-item]");
  const target = item.querySelector(".written");
  const { user, history: seen } = button.closest("[data-user]").dataset;
  const who = user ? { user_id: user } : { history: JSON.parse(seen) };
  target.hidden = false;
  target.classList.remove("bad");
  target.textContent = "…";
  button.disabled = true;
  try {
    const answer = await post("v1/feedback", {
      ...who, item_id: item.dataset.item, kind: button.dataset.text, stream: true,
    });
    let text = "";
    for await (const { event, data } of events(answer.body)) {
      if (event === "text") target.textContent = text += data.text;
      if (event === "feedback") target.textContent = data.text || "There is nothing to say.";
      if (event === "error") throw new Error(data.error);
    }
  } catch (error) {
    target.classList.add("bad");
    target.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const blocks = waiting.split(/\r?\n\r?\n/);
    waiting = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => {
        const at = line.indexOf(":");
        return [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
      }));
      if (fields.data) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-live]");
  if (link && !event.metaKey && !event.ctrlKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    go(link.href);
    return;
  }
  const button = event.target.closest("button");
  if (button?.dataset.event) send(button);
  if (button?.dataset.text) write(button);
  if (button?.dataset.withdraw) withdraw(button);
  if (button?.dataset.copy) {
    navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent).then(
      () => say("Copied."), () => say("Copying is not allowed here: select the text.", true),
    );
  }
});

// Ask for rows of quarantine to be let in; the page then lists what waits.
async function readmit(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const told = await (await post("v1/quarantine/readmissions", Object.fromEntries(new FormData(form)))).json();
    if (await renew() === null) {
      button.disabled = false;
    } else {
      document.getElementById("waiting")?.scrollIntoView();
      document.getElementById("main").focus({ preventScroll: true });
    }
    say(told.rows === 1 ? "Asked for: 1 row is let in by the next run." : `Asked for: ${told.rows} rows are let in by the next run.`);
  } catch (error) {
    button.disabled = false;
    say(error.message, true);
  }
}

// Take back what waits to be let in.
async function withdraw(button) {
  button.disabled = true;
  try {
    await ask(`v1/quarantine/readmissions/${encodeURIComponent(button.dataset.withdraw)}`, { method: "DELETE" });
    if (await renew() === null) button.disabled = false;
    else document.getElementById("main").focus({ preventScroll: true });
    say("Withdrawn: the next run does not let these rows in.");
  } catch (error) {
    button.disabled = false;
    say(error.message, true);
  }
}

document.addEventListener("submit", (event) => {
  const asking = event.target.closest("form[data-readmit]");
  if (asking) {
    event.preventDefault();
    readmit(asking);
    return;
  }
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  event.preventDefault();
  const url = new URL(form.action);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  go(url);
});

// A page that says so is loaded anew now and then, but never while somebody reads within it by keyboard or has opened
// a part of it.
const renewing = document.querySelector("[data-renew]");
if (renewing) {
  setInterval(() => {
    const main = document.getElementById("main");
    const isInUse = document.hidden || main.contains(document.activeElement) || main.querySelector("details[open]");
    if (!isInUse) renew().catch(() => {});
  }, 1000 * Number(renewing.dataset.renew));
}

// Going to a fragment of the page, as "Skip to the content" does, is a step in history too, and loads nothing: what
// somebody is typing would be gone.
addEventListener("popstate", () => {
  if (address() !== shown) {
    show(location.href, { push: false }).catch(() => location.reload());
  }
});
reveal(document);
