/** What is chosen, in words: the way to a hit, or a branch. */

import { element } from "./elements.js";
import { chip, isLeaf, leadsTo, nameOf, nameOfBranch } from "./names.js";
import { decimal, listed, percent, plural, priorName, shortened } from "./numbers.js";
import * as shown from "./shown.js";

function partsOf(branch) {
  const [model, prior] = [decimal(branch.of_index), decimal(branch.of_prior)];
  return shown.walk.prior ? `Its bar: ${model} from the model and ${prior} from ${priorName(shown.walk.prior)}.` : "";
}

/** The way to a hit in words: the branch of each step, and what their probabilities give. */
export function wayTo(rank) {
  const hit = shown.hits.find((one) => one.rank === rank);
  const way = shown.everyBranch().filter((branch) => branch.hits.includes(rank));
  const heading = element("h3", {}, `The way to result ${rank}: `, element("b", {}, nameOf(hit)));
  const last = way.at(-1);
  if (!last)
    return [
      heading,
      element(
        "p",
        {},
        shown.walk.prior
          ? "No branch that the beam followed leads to it: its matching words brought it here."
          : "No branch that this beam followed leads to it: a wider one has found it.",
      ),
    ];
  if (shown.walk.kind === "atomic") {
    return [heading, element("p", {}, `The model gives this document ${percent(last.probability)}. ${partsOf(last)}`)];
  }
  const [docid, chance] = isLeaf(last)
    ? ["Its docid: ", "The model gives this way "]
    : ["The beam followed its docid up to here: ", "The model gives this beginning "];
  const product = way.length > 1 ? `${way.map((branch) => percent(branch.step)).join(" × ")} = ` : "";
  return [
    heading,
    element(
      "p",
      {},
      docid,
      ...way.flatMap((branch) => [chip(branch.token), " "]),
      `${chance}${product}${percent(last.probability)}. ${partsOf(last)}`,
    ),
  ];
}

/** A branch in words. */
export function wordsFor(branch) {
  const heading = element(
    "h3",
    {},
    shown.walk.kind === "atomic" ? "The document " : "The branch ",
    chip(branch.token),
    " ",
    element("b", {}, nameOfBranch(branch)),
  );
  const examples = branch.examples.map((one) => `“${shortened(one, 50)}”`);
  const below = isLeaf(branch)
    ? `Here a way ends, at ${listed(branch.doc_ids)}.`
    : `${plural(branch.documents, "document")} below it${examples.length ? `, such as ${listed(examples)}` : ""}.`;
  const chance =
    branch.parent === 0
      ? `The model gives it ${percent(branch.probability)}.`
      : `After the steps before, it has ${percent(branch.step)}; the whole way so far ${percent(branch.probability)}.`;
  const end = branch.kept
    ? branch.hits.length
      ? `It ${leadsTo(branch)}.`
      : "It was kept, but leads to none of the results."
    : "It was dropped: others were better.";
  return [
    heading,
    element(
      "p",
      {},
      [shown.walk.kind === "atomic" ? "" : below, chance, partsOf(branch), end].filter(Boolean).join(" "),
    ),
  ];
}
