// The button for dark and light, and one to copy each piece of code.

document.querySelector("button.theme").addEventListener("click", () => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  remember(root.dataset.theme);
});

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    button.textContent = (await copy(code)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent + "\n");
    return true;
  } catch {
    // Not allowed to: select the text, and leave the rest to the reader if that does not do either.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
