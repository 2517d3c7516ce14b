// Questions to the server, with its token, and errors as sentences.

const KEY = "ferfusion-token";
const SILENT = "The server doesn't answer. Is it still running?";

export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

// The part after # never leaves the browser; it is taken out of the address bar, too.
export function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  keepToken(token);
  history.replaceState(null, "", location.pathname + location.search);
}

export async function ask(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, SILENT);
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refusal(answer.status, said.error || `The server answered with ${answer.status}.`);
}

export function sendPictures(path, files, signal) {
  const form = new FormData();
  // Types that the server doesn't know, as of NumPy files, are sent as plain bytes.
  for (const [modality, file] of files) {
    const isPicture = /^image\/(jpeg|png|webp|tiff|bmp)$/.test(file.type);
    const sent = isPicture ? file : new Blob([file], { type: "application/octet-stream" });
    form.append(modality, sent, "picture");
  }
  return ask(path, { method: "POST", body: form, signal }).then((answer) => answer.json());
}
