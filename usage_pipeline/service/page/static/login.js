// The login form: the token goes into the body of one request, and nowhere else.

import { logIn } from "./api.js";
import { byId } from "./dom.js";

const form = byId("login");
const token = byId("token");
const problem = byId("problem");

if (sessionStorage.getItem("session-ended")) {
  sessionStorage.removeItem("session-ended");
  problem.textContent = "Your session has ended. Log in again.";
}
token.focus();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  problem.textContent = "";
  try {
    await logIn(token.value.trim());
    location.replace(`/${location.search}`); // where the reader wanted to go, on this page alone
  } catch (error) {
    problem.textContent = error.status === 401 ? "This token opens nothing: it is unknown, expired or revoked. Ask for a new one." : error.words;
    button.disabled = false;
    token.select();
  }
});
