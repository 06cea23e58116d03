/** A branch of the walk as a card. */

import { choosable } from "./choosing.js";
import { at, element } from "./elements.js";
import { chip, leadsTo, nameOfBranch } from "./names.js";
import { decimal, percent, plural, priorName, shortened } from "./numbers.js";
import * as shown from "./shown.js";

export const cardOf = (node) => at("picture").querySelector(`.branch[data-node="${Number(node)}"]`);

export function card(branch, walk, full) {
  const part = (kind, value) => {
    const made = element("span", { className: kind });
    made.style.width = `${(100 * value) / full}%`;
    return made;
  };
  const facts = [
    branch.kept ? "" : "dropped",
    walk.kind === "atomic" ? "" : plural(branch.documents, "document"),
    walk.kind === "atomic" && walk.prior ? `${priorName(walk.prior)} ${decimal(branch.prior)}` : "",
  ].filter(Boolean);
  const above = shown.branchAt(branch.parent);
  const button = element(
    "button",
    { type: "button", className: "branch card" },
    element("span", { className: "words" }, chip(branch.token), branch.token ? " " : "", nameOfBranch(branch)),
    element("span", { className: "share" }, percent(branch.probability)),
    element(
      "span",
      { className: "bar", "aria-hidden": "true" },
      part("index", branch.of_index),
      part("prior", branch.of_prior),
    ),
    element("span", { className: "about" }, facts.join(" · ")),
    above ? element("span", { className: "above about" }, `from ${shortened(nameOfBranch(above), 40)}`) : "",
    branch.hits.length
      ? element(
          "span",
          { className: "ranks" },
          ...branch.hits.slice(0, 6).map((rank) => element("span", { className: "rank" }, String(rank))),
          branch.hits.length > 6 ? "…" : "",
        )
      : "",
  );
  button.setAttribute(
    "aria-label",
    [
      nameOfBranch(branch),
      branch.token && `token ${branch.token}`,
      percent(branch.probability),
      ...facts,
      above && `from ${nameOfBranch(above)}`,
      leadsTo(branch),
    ]
      .filter(Boolean)
      .join("; "),
  );
  button.classList.toggle("dropped", !branch.kept);
  button.dataset.node = branch.node;
  choosable(button, button, { node: branch.node });
  return button;
}
