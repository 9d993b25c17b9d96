// for k6
import http from "k6/http";

export const options = { vus: Number(__ENV.USERS), duration: "600s" };
const body = { query: "what does a harness prove", k: 10, filter: { lang: "en", year: 2026 } };
const json = { headers: { "Content-Type": "application/json" } };

export default function () {
  if (__ENV.KIND === "post") http.post(`${__ENV.URL}/post`, JSON.stringify(body), json);
  else http.get(`${__ENV.URL}/get`);
}
