// What people type and paste, read as raw file ids, by the rules of impl/raw_file_ids.py as far as they go without the
// database. Airflow reads it again and decides: an id that is in the database is taken as it stands, with blanks and
// commas in it. Pure functions.

// What Python's str.strip() takes away, and what nobody sees.
const BLANKS = "[\\s\\u001c-\\u001f\\u0085\\ufeff\\u200b-\\u200f\\u2060\\u00ad]+";
const AROUND_BLANKS = new RegExp(`^${BLANKS}|${BLANKS}$`, "g");
const QUOTES = "[\"'`´‘’‚“”„«»‹›[\\](){}<>,;]+";
const AROUND_QUOTES = new RegExp(`^${QUOTES}|${QUOTES}$`, "g");
const BULLET = /^[-*•–]\s+/;
const SEPARATORS = /[\s,;]+/;
const ROOT = /^(?:[/\\~]|\w+:\/\/|[A-Za-z]:[/\\]|\.{1,2}[/\\]|["'`])/;
const EXTENSION = /\.\w{1,8}["'`]?$/;
const LINES = /\r\n|[\n\r\v\f\u001c-\u001e\u0085\u2028\u2029]/;

/**
 * @typedef {object} ReadId
 * @property {string} id what a piece of the text is read as
 * @property {string} given the piece
 */

/** @param {string} text */
function stripped(text) {
  return text.replace(AROUND_BLANKS, "");
}

/** @param {string} text */
function unquoted(text) {
  let before;
  do {
    before = text;
    text = stripped(text.replace(BULLET, "").replace(AROUND_QUOTES, ""));
  } while (text !== before);
  return text;
}

/**
 * One piece of text as an id: without blanks, quotes and bullets around it, and without the way to a file before it.
 * @param {string} given
 */
export function readOne(given) {
  const bare = unquoted(stripped(given));
  const isUrl = bare.includes("://");
  const path = isUrl ? decoded(bare.split(/[?#]/)[0]) : bare;
  const trimmed = path.replace(/[/\\]+$/, "");
  const cut = Math.max(trimmed.lastIndexOf("/"), trimmed.lastIndexOf("\\")) + 1;
  const way = trimmed.slice(0, cut);
  const name = unquoted(trimmed.slice(cut));
  if (!name || mayBeSeveral(way) || (isUrl && way.endsWith("://"))) return bare;
  return name;
}

/** @param {string} url */
function decoded(url) {
  try {
    return decodeURIComponent(url);
  } catch {
    return url;
  }
}

/**
 * Whether the way to a file may hold another file, which must not be dropped in silence.
 * @param {string} way
 */
function mayBeSeveral(way) {
  const words = way.split(SEPARATORS).filter(Boolean);
  return words.slice(1).some((word) => ROOT.test(word)) || words.slice(0, -1).some((word) => EXTENSION.test(word));
}

/**
 * The ids in a text: cut at lines, commas and semicolons; at blanks where each word between them ends as an id does.
 * Each id once.
 * @param {string} text
 * @returns {{ids: ReadId[], repeated: number}}
 */
export function readPasted(text) {
  /** @type {Map<string, ReadId>} */
  const found = new Map();
  let repeated = 0;
  for (const given of linesOf(text).flatMap(piecesOf)) {
    const id = readOne(given);
    if (!id) continue;
    if (found.has(id)) repeated += 1;
    else found.set(id, { id, given });
  }
  return { ids: [...found.values()], repeated };
}

/**
 * Lines that say something, without the blanks around them: what is sent.
 * @param {string} text
 */
export function linesOf(text) {
  return text.split(LINES).map(stripped).filter((line) => unquoted(line) !== "");
}

/** @param {string} line */
function piecesOf(line) {
  return line
    .split(/[,;]/)
    .map(stripped)
    .filter((piece) => unquoted(piece) !== "")
    .flatMap((piece) => {
      const words = piece.split(/\s+/).filter((word) => unquoted(word) !== "" && !/^[-*•–]$/.test(word));
      const several = words.length > 1 && words.every((word) => EXTENSION.test(word.replace(/[/\\]$/, "")));
      return several ? words : [piece];
    });
}
