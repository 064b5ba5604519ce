// Line icons on a grid of 24, drawn for this page.
import { s } from "./dom.js";

/** @type {Record<string, string[]>} */
const PATHS = {
  image: ["M4 5h16v14H4z", "M4 16l5-5 4 4 3-3 4 4", "M15.5 9.2v.1"],
  folder: ["M12 15V4", "M8 8l4-4 4 4", "M4 14v5h16v-5"],
  camera: ["M4 8h4l2-3h4l2 3h4v11H4z", "M12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z"],
  link: [
    "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.700-5.700l-1.300 1.300",
    "M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.700 5.700l1.300-1.300",
  ],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14z", "M16.200 16.200 21 21"],
  crop: ["M7 3v14h14", "M3 7h14v14"],
  mirror: ["M12 3v18", "M9 7 4 17h5z", "M15 7l5 10h-5z"],
  turn_left: ["M5 5v5h5", "M5.500 10A7.500 7.500 0 1 1 5 14"],
  turn_right: ["M19 5v5h-5", "M18.500 10A7.500 7.500 0 1 0 19 14"],
  reset: ["M5 5v14", "M20 12H9", "M13 8l-4 4 4 4"],
  shuffle: ["M4 7h3l9 10h4", "M4 17h3l2.500-2.800", "M13.500 9.800 16 7h4", "M18 5l2 2-2 2", "M18 15l2 2-2 2"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  left: ["M15 5l-7 7 7 7"],
  right: ["M9 5l7 7-7 7"],
  down: ["M6 9l6 6 6-6"],
  download: ["M12 4v11", "M7.500 11l4.500 4.500L16.500 11", "M4 20h16"],
  check: ["M5 12.500l4.500 4.500L19 7.500"],
  plus: ["M12 5v14", "M5 12h14"],
  minus: ["M5 12h14"],
  alert: ["M12 4 2.800 20h18.400z", "M12 10v4.500", "M12 17.200v.1"],
  info: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z", "M12 11v5.500", "M12 7.700v.1"],
  sun: [
    "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
    "M12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M18.700 5.300l-1.400 1.400M6.700 17.300l-1.400 1.400",
  ],
  moon: ["M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500z"],
  auto: ["M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16z", "M12 4v16", "M12 8h6.800M12 12h8M12 16h6.800"],
  text: ["M5 6h14", "M12 6v13", "M9 19h6"],
  share: [
    "M8 12h8",
    "M4 12a4 4 0 0 1 4-4h2",
    "M20 12a4 4 0 0 1-4 4h-2",
    "M10 16H8a4 4 0 0 1-4-4",
    "M14 8h2a4 4 0 0 1 4 4",
  ],
  sliders: ["M4 7h9M17 7h3M4 17h3M11 17h9", "M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4z"],
};

/** @param {string} name @param {number} [size] @returns {SVGElement} */
export function icon(name, size = 20) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", focusable: "false" },
    PATHS[name].map((d) => s("path", { d })),
  );
}
