// Runs before anything is drawn: the page appears in the colours that were chosen last time.
const THEME = "lighthead-theme";

function remembered() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // some browsers keep nothing for files
  }
}

function remember(theme) {
  try {
    localStorage.setItem(THEME, theme);
  } catch {}
}

const chosen = remembered();
if (chosen) document.documentElement.dataset.theme = chosen;
