"use strict";
(() => {
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const buttons = [...document.querySelectorAll("[data-filter]")];
  const gates = [...document.querySelectorAll(".gate")].map((node) => ({
    node, status: node.dataset.status, text: node.textContent.toLowerCase(),
  }));
  const groups = [...document.querySelectorAll(".group")];
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = buttons.filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.filter);
    let count = 0;
    for (const gate of gates) {
      const fits = (!wanted.length || wanted.includes(gate.status)) && words.every((word) => gate.text.includes(word));
      gate.node.hidden = !fits;
      count += fits ? 1 : 0;
    }
    for (const group of groups) {
      group.hidden = !group.querySelector(".gate:not([hidden])");
    }
    shown.textContent = count === gates.length ? `${count} gates` : `${count} of ${gates.length} gates`;
  };
  search.addEventListener("input", apply);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!on));
      apply();
    });
  }
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.classList.contains("gate")) {
      target.hidden = false;
      target.closest(".group").hidden = false;
      target.querySelector("details").open = true;
    }
  };
  addEventListener("hashchange", open);
  apply();
  open();
})();
