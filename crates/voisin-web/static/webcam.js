// A frame of the webcam.
import { h } from "./dom.js";
import { open } from "./dialogs.js";
import { icon } from "./icons.js";

/** Why there is no picture, by the name of the browser's error. @type {Record<string, string>} */
const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera. Its settings for this page change that.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use by another program.",
};

/**
 * Shows what the camera sees until a frame is taken. Nothing when it is left without one.
 * @returns {Promise<Blob | null>}
 */
export function takePicture() {
  return new Promise((done) => {
    /** @type {MediaStream | null} */
    let stream = null;
    /** @type {Blob | null} */
    let taken = null;
    let closed = false;
    const video = h("video", { playsinline: true, muted: true, autoplay: true, "aria-label": "What the camera sees" });
    video.muted = true;
    const state = h("p", { class: "quiet", role: "status" }, "Waiting for the camera\u2026");
    const shoot = h(
      "button",
      { type: "button", class: "main", disabled: true, on: { click: capture } },
      icon("camera"),
      "Take the picture",
    );
    const dialog = open({
      title: "Webcam",
      className: "wide",
      body: h(
        "div",
        { class: "editor" },
        h("div", { class: "crop-room" }, video),
        h("div", { class: "row apart" }, state, shoot),
      ),
      onClose: () => {
        closed = true;
        stream?.getTracks().forEach((track) => track.stop());
        done(taken);
      },
    });

    function capture() {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob(
        (/** @type {Blob | null} */ blob) => {
          taken = blob;
          dialog.close();
        },
        "image/jpeg",
        0.92,
      );
    }

    async function start() {
      // Browsers give cameras to pages of this machine or over https only.
      if (!navigator.mediaDevices?.getUserMedia)
        throw new Error("Browsers give the camera only to pages of this machine or over https.");
      stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment", width: { ideal: 1280 } },
      });
      if (closed) return stream.getTracks().forEach((track) => track.stop());
      video.srcObject = stream;
      await video.play();
      state.textContent = "Hold it in front of the camera.";
      shoot.disabled = false;
      shoot.focus();
    }
    start().catch((error) => {
      state.textContent = REASONS[error.name] ?? error.message;
      video.hidden = true;
    });
  });
}
