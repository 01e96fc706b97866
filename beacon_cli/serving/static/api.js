// Talking to the server: the token, errors in words, server-sent events.

const KEY = "beacon-token";

export class ServerError extends Error {}

// Set by the page: asks a person for the token, and resolves with it.
export const asking = { token: async () => "" };

export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// A response that is no error. A token is asked for once it is found to be needed, and again if it is wrong.
export async function ask(path, options = {}) {
  for (let tried = false; ; tried = true) {
    let response;
    try {
      const headers = { ...options.headers, ...authorization() };
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("The server does not answer. Is it still running?");
    }
    if (response.status === 401) {
      sessionStorage.setItem(KEY, await asking.token(tried));
      continue;
    }
    if (!response.ok) throw new ServerError(await reason(response));
    return response;
  }
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server failed (${response.status}).`;
  }
}

export function askJson(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// The values of server-sent events, as they come. One that says an error ends them with it.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("The server went away. Start it again: what was condensed is kept.");
    }
    if (piece.done) return;
    const parts = (rest + piece.value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const text = part.slice("data: ".length);
      if (text === "[DONE]") return;
      const value = JSON.parse(text);
      if (value.error) throw new ServerError(value.error.message);
      yield value;
    }
  }
}
