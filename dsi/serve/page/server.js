/** What the server is asked. */

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Gone extends Error {}

const detailOf = (detail) =>
  Array.isArray(detail) ? detail.map((one) => `${one.loc?.at(-1) ?? ""}: ${one.msg ?? ""}`).join("; ") : String(detail);

/** The answer of the server to a path with parameters; throws a Refusal, Gone if there is none, or AbortError. */
export async function ask(path, parameters = {}, signal = undefined) {
  const token = sessionStorage.getItem("token");
  const question = new URLSearchParams(parameters).toString();
  try {
    const answer = await fetch(question ? `${path}?${question}` : path, {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      signal,
    });
    const body = await answer.json().catch((fault) => {
      if (fault.name === "AbortError") throw fault;
      return {};
    });
    if (!answer.ok) throw new Refusal(answer.status, detailOf(body.detail ?? answer.statusText));
    return body;
  } catch (fault) {
    if (fault instanceof Refusal || fault.name === "AbortError") throw fault;
    throw new Gone(fault.message);
  }
}
