/** The walk beside the results: how to read it, its picture, its legend. */

import { choose } from "./choosing.js";
import { at, element, show } from "./elements.js";
import { said } from "./faults.js";
import { priorName } from "./numbers.js";
import { drawPicture } from "./picture.js";
import * as shown from "./shown.js";

/** How to read a walk, for those who have never seen one. */
export function aid(kind, prior) {
  const also = prior ? `${priorName(prior)}, which compares words, adds its part.` : "";
  const sentences =
    kind === "atomic"
      ? [
          "In this index every document is one branch of its own.",
          "The model reads the query and gives each document a probability in a single step.",
          also,
          "The longest bars are the results.",
        ]
      : [
          "Every document has a docid: a way through a tree, step by step.",
          "The model reads the query and gives each branch a probability.",
          also,
          "Each step keeps the branches with the longest bars and drops the rest;",
          "where a way ends, there is a document.",
        ];
  return sentences.filter(Boolean).join(" ");
}

/** The documents of a walk through atomic docids as the branches of one level. */
function documentsOf(walk) {
  const ranks = new Set(shown.hits.map((hit) => hit.rank));
  const branches = walk.documents.map((one, place) => ({
    ...one,
    node: place + 1,
    parent: 0,
    token: "",
    step: one.probability,
    kept: true,
    hits: ranks.has(one.rank) ? [one.rank] : [],
    documents: 1,
    words: [],
    examples: one.title ? [one.title] : [],
    doc_ids: [one.doc_id],
  }));
  return [{ kept: branches.length, dropped: 0, branches }];
}

/** The branches of each level in the order of those that they come from, so that few lines cross; dropped ones last. */
function arranged(levels) {
  let above = new Map([[0, 0]]);
  return levels.map((level) => {
    const place = (branch) => above.get(branch.parent) ?? above.size;
    const sum = (branch) => branch.of_index + branch.of_prior;
    const branches = [...level.branches].sort((a, b) => b.kept - a.kept || place(a) - place(b) || sum(b) - sum(a));
    above = new Map(branches.map((branch, position) => [branch.node, position]));
    return { ...level, branches };
  });
}

export function hideWalk() {
  for (const id of ["legend", "way", "picture", "certificate", "walk-note"]) show(id, false);
}

export function showWalk(walk) {
  if (walk instanceof Error) {
    if (!shown.hits.length) return;
    at("walk-note").textContent = `The walk cannot be shown. ${said(walk)}`;
    show("walk-note", true);
    return;
  }
  shown.setWalk(walk, walk.kind === "tree" ? arranged(walk.levels) : documentsOf(walk));
  const some = shown.levels.some((level) => level.branches.length);
  at("aid").textContent = aid(walk.kind, walk.prior);
  at("certificate").textContent = walk.certificate;
  at("certificate").classList.toggle("sure", walk.certified > 0);
  drawLegend(walk);
  drawPicture(walk);
  for (const id of ["legend", "way", "picture"]) show(id, some);
  show("certificate", Boolean(walk.certificate));
  choose(shown.hits.length ? { rank: shown.hits[0].rank } : null);
}

function drawLegend(walk) {
  const entry = (kind, words) =>
    element("li", {}, element("span", { className: `swatch ${kind}`, "aria-hidden": "true" }), words);
  const dropped = shown.levels.some((level) => level.branches.some((branch) => !branch.kept));
  at("legend").replaceChildren(
    entry("index", "what the model finds probable"),
    ...(walk.prior ? [entry("prior", `what ${priorName(walk.prior)} adds for matching words`)] : []),
    ...(dropped ? [entry("dropped", "dropped, not followed further")] : []),
  );
}
