// Dialogs: the browser's own, which keep the focus inside and give it back.
import { fresh, h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * Opens a dialog and removes it once closed.
 * @param {{title: string, body: any, className?: string, onClose?: () => void, head?: any}} what
 * @returns {HTMLDialogElement}
 */
export function open({ title, body, className = "", onClose, head }) {
  const id = fresh("dialog");
  const dialog = h(
    "dialog",
    { class: className, "aria-labelledby": id },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id, tabindex: "-1" }, title),
      head,
      h(
        "button",
        {
          type: "button",
          class: "plain round",
          "aria-label": "Close",
          title: "Close (Esc)",
          on: { click: () => dialog.close() },
        },
        icon("close"),
      ),
    ),
    body,
  );
  // A press on the shade around the dialog closes it; one that began inside does not.
  let outside = false;
  dialog.addEventListener("pointerdown", (/** @type {any} */ event) => {
    const box = dialog.getBoundingClientRect();
    outside =
      event.target === dialog &&
      (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom);
  });
  dialog.addEventListener("click", () => outside && dialog.close());
  dialog.addEventListener("close", () => {
    onClose?.();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
