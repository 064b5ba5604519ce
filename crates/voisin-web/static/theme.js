// The colours chosen last, before anything is painted; a plain script in the head, so that nothing flashes.
(function () {
  "use strict";
  let chosen = null;
  try {
    chosen = localStorage.getItem("voisin:theme");
  } catch {
    // Storage may be forbidden: the system's colours it is.
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
