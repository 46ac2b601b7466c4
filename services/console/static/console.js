// Keys of the keyboard; everything else works without this file.
"use strict";
const places = { "?": "/keys-of-the-keyboard", o: "/", s: "/submissions", q: "/quarantine", d: "/duties", e: "/events" };
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/") {
    const first = document.querySelector(".filters input, .filters select");
    if (first) { event.preventDefault(); first.focus(); }
  } else if (Object.hasOwn(places, event.key)) {
    location.assign(places[event.key]);
  }
});
