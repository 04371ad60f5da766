/* Makes pages quicker; each works without it. What is fetched are the same pages, parsed by the
   browser as documents in which nothing runs; parts of them are moved, never text turned to HTML. */
"use strict";

const SWAPPED = ["search", "results"];
let running = null;

function fetchPage(address, done, failed) {
  const request = new XMLHttpRequest();
  request.open("GET", address);
  request.responseType = "document";
  request.addEventListener("load", () => {
    const usable = request.status === 200 || request.status === 400;
    if (usable && request.response) done(request.response, request.responseURL);
    else failed();
  });
  request.addEventListener("error", failed);
  request.send();
  return request;
}

function replace(id, page) {
  const old = document.getElementById(id);
  const fresh = page.getElementById(id);
  if (old && fresh) old.replaceWith(document.adoptNode(fresh));
}

function show(address, { remember }) {
  if (running) running.abort();
  const results = document.getElementById("results");
  const field = document.activeElement && document.activeElement.id;
  results.classList.add("busy");
  results.setAttribute("aria-busy", "true");
  running = fetchPage(
    address,
    (page, reached) => {
      running = null;
      if (!page.getElementById("results")) {
        location.assign(address);
        return;
      }
      for (const id of SWAPPED) replace(id, page);
      document.title = page.title;
      if (remember) history.pushState(null, "", reached);
      // Whoever types goes on where they were.
      const again = field && document.getElementById(field);
      if (again) again.focus({ preventScroll: true });
      enhance(document);
    },
    () => location.assign(address),
  );
}

function searchAddress(form) {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value.trim()) fields.append(name, value.trim());
  }
  const query = fields.toString();
  return form.getAttribute("action") + (query ? `?${query}` : "");
}

function isSearch(link) {
  const address = new URL(link.href.baseVal || link.href, location.href);
  return address.origin === location.origin && address.pathname === "/";
}

function addCopy(element) {
  if (!navigator.clipboard || element.dataset.copied) return;
  element.dataset.copied = "yes";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  button.setAttribute("aria-label", `Copy ${element.textContent.slice(0, 40)}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(element.textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  element.after(button);
}

function enhance(root) {
  for (const element of root.querySelectorAll("[data-copy]")) addCopy(element);
  for (const element of root.querySelectorAll("[data-load]")) {
    const address = element.dataset.load;
    delete element.dataset.load;
    fetchPage(address, (page) => {
      const fresh = page.getElementById(element.id);
      if (fresh && element.isConnected) element.replaceWith(document.adoptNode(fresh));
    }, () => {});
  }
}

function move(by) {
  const links = [...document.querySelectorAll("#rows a.open-row")];
  if (!links.length) return;
  const now = links.indexOf(document.activeElement);
  const next = now < 0 ? (by > 0 ? 0 : links.length - 1) : now + by;
  const link = links[Math.min(links.length - 1, Math.max(0, next))];
  link.focus();
  link.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "search") return;
  event.preventDefault();
  show(searchAddress(event.target), { remember: true });
});

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest("a");
  if (link) {
    const here = document.getElementById("results") && link.closest("#search, #results");
    if (here && !link.hasAttribute("download") && isSearch(link)) {
      event.preventDefault();
      show(link.href.baseVal || link.href, { remember: true });
    }
    return;
  }
  // Anywhere in a row, unless somebody marks text there.
  const row = event.target.closest(".rows tbody tr");
  if (row && String(getSelection()) === "") row.querySelector("a.open-row").click();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape" && typing) typing.blur();
  if (typing) return;
  if (event.key === "/") {
    const field = document.getElementById("f-subject");
    event.preventDefault();
    if (field) { field.focus(); field.select(); } else location.assign("/");
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
});

window.addEventListener("popstate", () => {
  if (document.getElementById("results")) show(location.href, { remember: false });
});

for (const element of document.querySelectorAll(".keys")) element.hidden = false;
enhance(document);
