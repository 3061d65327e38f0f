// Elements of the page. Text only ever becomes text: nothing here parses HTML.

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [properties] "class", "on…" (a listener), "aria-…", "role", "for" and "data-…" as attributes; others as properties
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (/^(aria-|data-|class$|role$|for$|scope$|colspan$)/.test(name)) made.setAttribute(name, String(value));
    else Object.assign(made, { [name]: value });
  }
  append(made, ...children);
  return made;
}

/**
 * @param {Element} parent
 * @param {...Child} children
 */
export function append(parent, ...children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Change the text of an element, only if it is another: what did not change is not announced, selected text stays.
 * @param {Element} shown
 * @param {string} text
 */
export function setText(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}

/**
 * @param {Element} shown
 * @param {boolean} hidden
 */
export function setHidden(shown, hidden) {
  if (shown.hasAttribute("hidden") !== hidden) shown.toggleAttribute("hidden", hidden);
}

/**
 * Bring the children of an element into an order, moving only what is not in its place: focus and scrolling stay.
 * @param {Element} parent
 * @param {Element[]} wanted
 */
export function setChildren(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  let place = parent.firstElementChild;
  for (const child of wanted) {
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
}

/**
 * Say something to those who hear the page.
 * @param {string} text
 */
export function say(text) {
  const said = document.querySelector("#said");
  if (said) said.textContent = text;
}

/** A bar with its percentage beside it. */
export class Bar {
  /** @param {string} label what it is the progress of */
  constructor(label) {
    this.bar = element("progress", { max: 100, value: 0, "aria-label": label });
    this.text = element("span", { class: "percent", "aria-hidden": "true" });
    this.node = element("span", { class: "bar" }, this.bar, this.text);
  }

  /**
   * @param {number | null} percent null: unknown
   * @param {string} [tone] "good" or "bad"
   */
  set(percent, tone = "") {
    if (percent === null) this.bar.removeAttribute("value");
    else this.bar.value = percent;
    if (this.bar.className !== tone) this.bar.className = tone;
    setText(this.text, percent === null ? "" : `${percent} %`);
  }
}

/**
 * A button that puts a text on the clipboard.
 * @param {() => string} text
 * @param {string} name what is copied
 */
export function copyButton(text, name) {
  const button = element("button", { type: "button", class: "small", "aria-label": `Copy ${name}` }, "Copy");
  button.addEventListener("click", async () => {
    const copied = await copy(text());
    setText(button, copied ? "Copied" : "Not allowed");
    say(copied ? `Copied ${name}` : "This browser does not let the page copy");
    setTimeout(() => setText(button, "Copy"), 3000);
  });
  return button;
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // pages over plain HTTP have no clipboard of their own
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const area = element("textarea", { value: text, class: "unseen", "aria-hidden": "true" });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
