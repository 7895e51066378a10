// Asks the page what a reader would see, and leaves the answers in the document.
"use strict";
(() => {
  const text = (selector) => document.querySelector(selector)?.textContent.trim() ?? null;
  const shown = () => text("#shown");
  const names = () => [...document.querySelectorAll(".gate:not([hidden])")].map((gate) => gate.id).join(" ");
  const search = document.getElementById("search");
  const type = (words) => {
    search.value = words;
    search.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const press = (filter) => document.querySelector(`[data-filter="${filter}"]`).click();
  const seen = { title: document.title, heading: text("h1"), all: shown() };
  press("FAIL");
  seen.failed = shown();
  seen.failed_names = names();
  press("FAIL");
  type("tamper chain detection");
  seen.searched = shown();
  seen.searched_names = names();
  type("no gate says this");
  seen.nothing = shown();
  type("");
  seen.again = shown();
  location.hash = "#approval-race-safe";
  dispatchEvent(new Event("hashchange"));
  seen.opened = [...document.querySelectorAll(".gate details[open]")].map((one) => one.closest(".gate").id).join(" ");
  seen.first_stop = document.querySelector("a, button, input, summary, [tabindex]").textContent.trim();
  // Whatever can be reached, and every picture and section, has a name for a screen reader.
  const named = (node) => node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length
    || (node.getAttribute("aria-labelledby") ?? "").split(" ").every((id) => document.getElementById(id)?.textContent.trim());
  const parts = [...document.querySelectorAll("a, button, input, summary, [tabindex], svg[role=img], section, nav, table")];
  seen.unnamed = parts.filter((node) => !named(node)).map((node) => node.outerHTML.slice(0, 120));
  seen.pictures = document.querySelectorAll("main svg[role=img]").length;
  const colour = (value) => (value.match(/[\d.]+/g) ?? []).map(Number);
  const light = (value) => {
    const [red, green, blue] = colour(value).map((part) => {
      const share = part / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const style = getComputedStyle(document.body);
  const both = [light(style.color), light(style.backgroundColor)].sort((one, other) => other - one);
  seen.contrast = (both[0] + 0.05) / (both[1] + 0.05);
  seen.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  seen.beyond = document.documentElement.scrollWidth - innerWidth;
  seen.requests = performance.getEntriesByType("resource").length;
  seen.problems = window.problems;
  const answer = document.createElement("pre");
  answer.id = "observed";
  answer.textContent = JSON.stringify(seen);
  document.body.append(answer);
})();
