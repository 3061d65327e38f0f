// The page is shown in a frame of Airflow's, or by itself: colours, and ways out of the frame.

import { element } from "./dom.mjs";

/** Address of Airflow: the page lies one level below it, whatever a proxy puts before. */
export const airflowRoot = new URL("..", new URL("./", document.baseURI));

/** Airflow's own window, where the page is framed by it. @type {Window | null} */
const outer = framedBy();

function framedBy() {
  if (window.parent === window) return null;
  try {
    return window.parent.document ? window.parent : null;
  } catch {
    return null; // framed by another origin, whose document is none of ours
  }
}

/** Be light or dark as Airflow is, now and when it changes. */
export function followColours() {
  const theirs = outer?.document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const chosen = theirs ? (theirs.classList.contains("dark") ? "dark" : "light") : rememberedColours();
    document.documentElement.className = chosen || (system.matches ? "dark" : "light");
  };
  follow();
  system.addEventListener("change", follow);
  window.addEventListener("storage", follow); // chosen in another tab
  if (theirs) new MutationObserver(follow).observe(theirs, { attributes: true, attributeFilter: ["class"] });
}

function rememberedColours() {
  try {
    const theme = localStorage.getItem("theme"); // where Airflow's UI keeps what was chosen
    return theme === "dark" || theme === "light" ? theme : "";
  } catch {
    return "";
  }
}

/**
 * A link to one of Airflow's own pages. The frame may not move the window around it; a link of the window's own may.
 * @param {string} path below Airflow's address
 * @param {string} text
 */
export function airflowLink(path, text) {
  const link = element("a", { href: new URL(path, airflowRoot).href }, text);
  link.addEventListener("click", (event) => {
    if (!outer) return;
    event.preventDefault();
    follow(outer, link.href, event.ctrlKey || event.metaKey || event.shiftKey);
  });
  return link;
}

/**
 * @param {Window} window_
 * @param {string} href
 * @param {boolean} [inNewTab]
 */
function follow(window_, href, inNewTab = false) {
  const link = window_.document.createElement("a");
  link.href = href;
  if (inNewTab) link.target = "_blank";
  window_.document.body.append(link);
  link.click();
  link.remove();
}

/** A link to Airflow's login, which leads back here. */
export function loginLink() {
  const back = encodeURIComponent((outer ?? window).location.href);
  return airflowLink(`api/v2/auth/login?next=${back}`, "Sign in");
}

/**
 * Where the page shows a run; relative, so that it holds behind any prefix.
 * @param {string} dag
 * @param {string} runId
 */
export function pageOf(dag, runId) {
  return `./?dag=${encodeURIComponent(dag)}&run=${encodeURIComponent(runId)}`;
}

/**
 * Show another view.
 * @param {string} href
 * @param {() => void} leave what is done with this one first: browsers keep it as it is, and show it to who comes back
 */
export function goTo(href, leave) {
  window.addEventListener("pagehide", leave, { once: true });
  location.assign(href);
}

/**
 * Airflow's own page of a run, or of a task's log.
 * @param {string} dag
 * @param {string} runId
 * @param {string} [task]
 */
export function airflowPageOf(dag, runId, task) {
  const run = `dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(runId)}`;
  return task ? `${run}/tasks/${encodeURIComponent(task)}` : run;
}
