// Comfort only: every page works without this file.  Drop a file, and it is looked up; paste a whole
// certificate, and it is sent at once.
"use strict";

const form = document.querySelector("form[data-drop]");

if (form) {
  const file = form.querySelector("input[type=file]");
  const text = form.querySelector("textarea");
  for (const hint of form.querySelectorAll("[data-script]")) hint.hidden = false;

  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  document.addEventListener("dragleave", () => form.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    if (event.dataTransfer.files.length) {
      file.files = event.dataTransfer.files;
      form.requestSubmit();
    }
  });
  text.addEventListener("paste", () => {
    setTimeout(() => {
      if (text.value.includes("-----END CERTIFICATE-----")) form.requestSubmit();
    });
  });
  // The verdict is what was asked for: say it first to whoever listens.
  const answer = document.getElementById("answer");
  if (answer) answer.focus();
}
