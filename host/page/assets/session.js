// The token and every request. It lives in sessionStorage, not in a cookie: nothing is sent by itself, so no other site
// can act through this browser, and both replicas of the controller serve it without shared state.

const KEY = "palisade-token";

/** A refusal of the server, in its words. */
export class Refused extends Error {
  constructor(status, message, remedy) {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }
}

export const token = () => sessionStorage.getItem(KEY);
export const keep = (text) => sessionStorage.setItem(KEY, text);
export const forget = () => sessionStorage.removeItem(KEY);

const headers = () => ({ Authorization: `Bearer ${token() ?? ""}` });

async function refusal(response) {
  let said = {};
  try { said = (await response.json()).error ?? {}; } catch { /* a proxy in between answers in its own way */ }
  return new Refused(response.status, said.message ?? `The server answered ${response.status}.`, said.remedy ?? "");
}

/** A question to the server. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(`/api/${path}`, { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new Refused(0, "The controller does not answer.", "The page tries again by itself.");
  }
  if (!response.ok) throw await refusal(response);
  return response.json();
}

export const tell = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** Follows the server's events until the signal ends it or the stream is over. EventSource cannot send a token. */
export async function follow(signal, opened, changed) {
  const response = await fetch("/api/events", { headers: headers(), signal });
  if (!response.ok) throw await refusal(response);
  opened();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    if (blocks.some((block) => block.startsWith("event: changed"))) changed();
  }
}
