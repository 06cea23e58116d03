/** The results of a search. */

import { choosable } from "./choosing.js";
import { at, element, show } from "./elements.js";
import { said } from "./faults.js";
import { nameOf } from "./names.js";
import { decimal, milliseconds, plural } from "./numbers.js";
import { ask } from "./server.js";
import * as shown from "./shown.js";
import { excerpt, marked, markedWords } from "./words.js";

export function showHits(query, found, roundTrip) {
  shown.setHits(query, found.hits);
  at("hits").replaceChildren(...found.hits.map((hit) => result(hit, markedWords(query))));
  at("no-results").textContent = `No document was found for “${query}”.`;
  show("no-results", !found.hits.length);
  const count = found.hits.length ? plural(found.hits.length, "document") : "No document";
  at("status").textContent =
    `${count} in ${milliseconds(found.milliseconds)} on the server, ${milliseconds(roundTrip)} there and back.`;
}

function result(hit, wanted) {
  const title = element("button", { type: "button", className: "title" }, marked(nameOf(hit), wanted));
  const whereabouts = element(
    "p",
    { className: "about" },
    hit.title ? `${hit.doc_id} · ` : "",
    element("span", {}, `score ${decimal(hit.score)}`),
  );
  const more = element(
    "details",
    {},
    element("summary", {}, shown.index?.has_documents === false ? "Explanation" : "Whole text, explanation"),
  );
  more.addEventListener("toggle", () => more.open && fill(more, hit, wanted), { once: true });
  const item = element(
    "li",
    { className: "hit" },
    element("span", { className: "rank", "aria-hidden": "true" }, String(hit.rank)),
    element("h3", {}, title),
    hit.text ? element("p", { className: "excerpt" }, marked(excerpt(hit.text, wanted), wanted)) : "",
    whereabouts,
    more,
  );
  item.dataset.rank = hit.rank;
  choosable(item, title, { rank: hit.rank });
  return item;
}

/** Fetches the text and the explanation of a hit, which are seldom wanted, when they are. */
async function fill(more, hit, wanted) {
  const query = shown.query;
  const below = element("div", {}, element("p", { className: "about" }, "Loading …"));
  more.append(below);
  const [text, explained] = await Promise.allSettled([
    shown.index?.has_documents === false ? { text: "" } : ask(`documents/${encodeURIComponent(hit.doc_id)}`),
    ask("explain", { query, doc_id: hit.doc_id }),
  ]);
  const refused = (fault) =>
    element(
      "p",
      { className: "about" },
      fault.status === 404 ? "This document is no longer in the index." : said(fault),
    );
  const block = (heading, answer, shape) =>
    answer.status === "rejected"
      ? [refused(answer.reason)]
      : answer.value.text
        ? [element("h4", {}, heading), shape(answer.value.text)]
        : [];
  below.replaceChildren(
    ...block("Text", text, (words) => element("p", { className: "text" }, marked(words, wanted))),
    ...block("Explanation", explained, (lines) =>
      element(
        "pre",
        { tabIndex: 0, role: "region", "aria-label": `Explanation of the score of ${nameOf(hit)}` },
        lines,
      ),
    ),
  );
}
