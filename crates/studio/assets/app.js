// The page: one view at a time, chosen by the hash of the address.
//   #/                  the runs
//   #/run/NAME          a run
//   #/compare/A/B[/C/D] two to four runs side by side

import { getInfo, onLink } from "./api.js";
import { mountCompare } from "./compare.js";
import { announce, element } from "./elements.js";
import { mountRun } from "./run.js";
import { mountRuns } from "./runs.js";

const byId = (id) => document.getElementById(id);
const view = byId("view");

/** The view of a hash: its function, its arguments, its title. */
function route(hash) {
  const [page, ...names] = hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  let decoded;
  try {
    decoded = names.map(decodeURIComponent);
  } catch {
    return null;
  }
  if (page === undefined) return { mount: mountRuns, names: [], title: "Runs" };
  if (page === "run" && decoded.length === 1) {
    return { mount: mountRun, names: decoded, title: decoded[0] };
  }
  if (page === "compare" && decoded.length >= 2 && decoded.length <= 4) {
    return { mount: mountCompare, names: decoded, title: "Compare" };
  }
  return null;
}

let unmount = null;

function show(info, isFirst) {
  const target = route(location.hash);
  unmount?.();
  unmount = null;
  view.replaceChildren();
  if (target?.mount === mountRuns) byId("nav-runs").setAttribute("aria-current", "page");
  else byId("nav-runs").removeAttribute("aria-current");
  if (!target) {
    document.title = "dcgan studio";
    view.append(
      element(
        "main",
        { class: "empty" },
        element("h1", { text: "There is no such page" }),
        element("p", {}, element("a", { href: "#/", text: "All runs" })),
      ),
    );
    return;
  }
  document.title = `${target.title} · dcgan studio`;
  unmount = target.mount(view, target.names, info);
  if (isFirst) return;
  // A new view begins at its top, for eyes and for screen readers.
  scrollTo(0, 0);
  view.querySelector("h1")?.focus({ preventScroll: true });
  announce(target.title);
}

onLink((isUp) => {
  const notice = byId("lost");
  notice.hidden = isUp;
  notice.textContent = isUp
    ? ""
    : "The server does not answer. What is shown may be old; the page asks again by itself.";
});

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  view.querySelector("h1")?.focus();
});

async function start() {
  let info;
  for (;;) {
    try {
      info = await getInfo();
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  byId("version").textContent = info.version ? `v${info.version}` : "";
  if (info.model) {
    byId("nav-explore").textContent = `Explore ${info.model}`;
    byId("nav-explore").hidden = false;
  }
  show(info, true);
  addEventListener("hashchange", () => show(info, false));
}

start();
