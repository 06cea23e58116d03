/** The walk as a picture: the query, the branches of each step, and the lines between them. */

import { card, cardOf } from "./card.js";
import { light } from "./choosing.js";
import { at, element } from "./elements.js";
import { listed, plural, shortened, whole } from "./numbers.js";
import * as shown from "./shown.js";

const longest = (branches) => Math.max(...branches.map((branch) => branch.of_index + branch.of_prior), 1e-9);

export function drawPicture(walk) {
  // with a prior the parts say only which branches of a step are better; without, they are probabilities
  const columns = shown.levels.map((level, number) =>
    column(level, number, walk, longest(walk.prior ? level.branches : shown.everyBranch())),
  );
  const root = element(
    "div",
    { className: "root" },
    element("p", { className: "step" }, "Query"),
    element(
      "p",
      { className: "card" },
      element("span", { className: "words" }, shortened(walk.query, 80)),
      shown.index
        ? element("span", { className: "about" }, `${plural(shown.index.documents, "document")} to choose from`)
        : "",
    ),
  );
  const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  lines.setAttribute("aria-hidden", "true");
  const steps = element("div", { className: `levels ${walk.kind}` }, lines, root, ...columns);
  steps.style.setProperty("--levels", columns.length);
  steps.classList.toggle("deep", columns.length > 3);
  at("picture").replaceChildren(steps);
  sized.disconnect();
  sized.observe(steps);
}

function column(level, number, walk, full) {
  const count = (kept) => level.branches.filter((branch) => branch.kept === kept).length;
  const rest = [
    [level.kept - count(true), "kept"],
    [level.dropped - count(false), "dropped"],
  ].filter(([more]) => more > 0);
  const heading = walk.kind === "atomic" ? "The best documents" : `Step ${number + 1}`;
  const tally =
    walk.kind === "atomic"
      ? ""
      : element("span", { className: "about" }, `${whole(level.kept)} kept, ${whole(level.dropped)} dropped`);
  const column = element(
    "section",
    { className: "level" },
    element("h3", { className: "step" }, heading, " ", tally),
    element(
      "div",
      {},
      element("ol", {}, ...level.branches.map((branch) => element("li", {}, card(branch, walk, full)))),
      rest.length
        ? element(
            "p",
            { className: "about rest" },
            `and ${listed(rest.map(([more, what]) => `${whole(more)} more ${what}`))}`,
          )
        : "",
    ),
  );
  column.style.setProperty("--number", number);
  return column;
}

/** The lines from each branch to those that it leads to, in one picture behind the cards. */
function drawLines() {
  const steps = at("picture").querySelector(".levels");
  const svg = steps.querySelector("svg");
  const origin = steps.getBoundingClientRect();
  const root = steps.querySelector(".root .card");
  svg.replaceChildren();
  if (getComputedStyle(svg).display === "none") return;
  for (const branch of [...shown.everyBranch()].sort((a, b) => a.kept - b.kept)) {
    const from = branch.parent === 0 ? root : cardOf(branch.parent);
    if (!from) continue;
    const [start, end] = [from.getBoundingClientRect(), cardOf(branch.node).getBoundingClientRect()];
    const [x, y, u, v] = [
      start.right - origin.left,
      start.top + start.height / 2 - origin.top,
      end.left - origin.left,
      end.top + end.height / 2 - origin.top,
    ];
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", `M${x} ${y}C${(x + u) / 2} ${y} ${(x + u) / 2} ${v} ${u} ${v}`);
    line.setAttribute("class", branch.kept ? "" : "dropped");
    line.style.strokeWidth = `${1.5 + 6 * branch.probability}px`;
    line.dataset.node = branch.node;
    svg.append(line);
  }
  light(shown.chosen);
}

const sized = new ResizeObserver(drawLines);
