/** What a reader is told when the server does not answer or refuses. */

import { at, show } from "./elements.js";
import { Gone, Refusal } from "./server.js";

const REFUSED = {
  409: "This index cannot do that",
  413: "The query is too long",
  422: "The server cannot read this query",
  429: "Too many requests",
  503: "The server is busy or not ready",
};

/** What a fault says to a reader. */
export function said(fault) {
  if (fault instanceof Gone)
    return "The server does not answer. Is it still running? What was found before stays below.";
  return `${REFUSED[fault.status] ?? `The server answers ${fault.status}`}: ${fault.message}`;
}

export function report(fault) {
  if (fault.name === "AbortError") return;
  if (!(fault instanceof Refusal || fault instanceof Gone)) throw fault;
  at("status").textContent = "";
  if (fault.status === 401) return askForToken();
  at("fault-text").textContent = said(fault);
  show("fault", true);
}

function askForToken() {
  const refused = sessionStorage.getItem("token") !== null;
  sessionStorage.removeItem("token");
  show("token-form", true);
  at("status").textContent = refused ? "The server did not accept this token." : "This server asks for a token.";
  at("token").focus();
}
