/** Words of a text that match those of a query. */

import { element } from "./elements.js";

/** The letters of an excerpt, and of a word that is marked, at least. */
const [SNIPPET, SHORTEST] = [140, 3];

/** Words that are in every text. */
const COMMON = new Set(
  "a an and are as at be by can do does for from how if in into is it of on or the to with".split(" "),
);

const WORD = /[\p{L}\p{N}_]+/gu;
const wordsOf = (text) => text.toLowerCase().match(WORD) ?? [];

/** The words of a query that are worth a mark: not the common ones, unless there are no others. */
export function markedWords(query) {
  const words = [...new Set(wordsOf(query))];
  const rare = words.filter((word) => !COMMON.has(word) && (word.length >= SHORTEST || /\p{N}/u.test(word)));
  return rare.length ? rare : words;
}

const matches = (word, wanted) => wanted.some((one) => word === one || (one.length > 3 && alike(word, one)));

const alike = (word, one) =>
  Math.abs(word.length - one.length) <= 3 &&
  word.slice(0, 4) === one.slice(0, 4) &&
  (word.startsWith(one) || one.startsWith(word) || word.slice(0, -3) === one.slice(0, word.length - 3));

/** The places of the matching words of a text. */
function places(text, wanted) {
  return [...text.matchAll(WORD)]
    .filter((found) => matches(found[0].toLowerCase(), wanted))
    .map((found) => ({ from: found.index, to: found.index + found[0].length, word: found[0].toLowerCase() }));
}

/** A text with its matching words in mark elements. */
export function marked(text, wanted) {
  const parts = document.createDocumentFragment();
  let done = 0;
  for (const { from, to } of places(text, wanted)) {
    parts.append(text.slice(done, from), element("mark", { textContent: text.slice(from, to) }));
    done = to;
  }
  parts.append(text.slice(done));
  return parts;
}

/** The part of a text that has the most different matching words. */
export function excerpt(text, wanted) {
  const line = text.replace(/\s+/gu, " ").trim();
  if (line.length <= SNIPPET) return line;
  const found = places(line, wanted);
  const within = (first) =>
    new Set(found.filter(({ from, to }) => from >= first && to <= first + SNIPPET - 40).map(({ word }) => word)).size;
  const best = found.slice(0, 200).reduce((one, { from }) => (within(from) > within(one) ? from : one), 0);
  const start = best <= 60 ? 0 : line.indexOf(" ", best - 40) + 1;
  const space = line.lastIndexOf(" ", start + SNIPPET);
  const end = line.length - start <= SNIPPET ? line.length : space > start ? space : start + SNIPPET;
  return `${start ? "…\u00a0" : ""}${line.slice(start, end)}${end < line.length ? "\u00a0…" : ""}`;
}
