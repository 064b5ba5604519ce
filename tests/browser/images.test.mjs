// Every way in for an image: file, drop, paste, webcam; what the editor sends.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { choose, icons, page, results, setUp, until } from "./support.mjs";

const world = setUp();
const icon = join(icons, "devices", "audio-input-microphone.png");

/** The bytes and the corners' colours of the last image that was sent. */
const lastSent = (tab) =>
  tab.evaluate(async () => {
    const { body } = window.sent.filter((one) => one.body instanceof Blob).at(-1);
    const bitmap = await createImageBitmap(body);
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0);
    const at = (x, y) => [...pen.getImageData(x, y, 1, 1).data].slice(0, 3);
    return {
      type: body.type,
      width: bitmap.width,
      height: bitmap.height,
      left: at(1, bitmap.height >> 1),
      right: at(bitmap.width - 2, bitmap.height >> 1),
      bytes: [...new Uint8Array(await body.arrayBuffer())],
    };
  });

/** A picture of four quarters: red and blue above, green and white below. */
const quarters = (tab) =>
  tab.evaluate(() => {
    const canvas = document.createElement("canvas");
    canvas.width = 80;
    canvas.height = 40;
    const pen = canvas.getContext("2d");
    ["#f00", "#00f", "#0f0", "#fff"].forEach((colour, i) => {
      pen.fillStyle = colour;
      pen.fillRect((i % 2) * 40, i < 2 ? 0 : 20, 40, 20);
    });
    return canvas.toDataURL("image/png");
  });

test("a file is sent as it is and its neighbours are shown", () =>
  page(world, "/", async (tab) => {
    await choose(tab, icon);
    await tab.keyboard.press("Enter");
    assert.ok((await results(tab)).length > 5);
    assert.match(tab.url(), /[?&]q=/);
    assert.deepEqual((await lastSent(tab)).bytes, [...readFileSync(icon)]);
    assert.match(await tab.locator(".timing").innerText(), /^\d+ of [\d,]+ in [\d.]+ (µs|ms|s)/);
    await tab.getByRole("heading", { level: 1, name: "audio-input-microphone.png" }).waitFor();
    // The image itself is in the collection: it comes first.
    if (!process.env.VOISIN_URL)
      assert.match(await tab.locator(".content .card-name").first().innerText(), /audio-input-microphone/);
  }));

test("an image is cropped and mirrored by keyboard", () =>
  page(world, "/", async (tab) => {
    const data = await quarters(tab);
    await choose(tab, {
      name: "quarters.png",
      mimeType: "image/png",
      buffer: Buffer.from(data.split(",")[1], "base64"),
    });
    await tab.getByRole("button", { name: "Mirror" }).press("Enter");
    // Mirrored, blue and white are on the left; the right edge goes to the middle.
    const right = tab.getByRole("slider", { name: "Right edge" });
    await right.focus();
    for (let i = 0; i < 5; i += 1) await tab.keyboard.press("Shift+ArrowLeft");
    assert.equal(await right.getAttribute("aria-valuenow"), "50");
    const bottom = tab.getByRole("slider", { name: "Bottom edge" });
    await bottom.focus();
    for (let i = 0; i < 5; i += 1) await tab.keyboard.press("Shift+ArrowUp");
    await tab.getByRole("button", { name: "Search", exact: true }).last().press("Enter");
    await results(tab);
    const sent = await lastSent(tab);
    assert.deepEqual(
      [sent.type, sent.width, sent.height, sent.left, sent.right],
      ["image/png", 40, 20, [0, 0, 255], [0, 0, 255]],
    );
  }));

test("an image is cropped with the pointer and turned", () =>
  page(world, "/", async (tab) => {
    const data = await quarters(tab);
    await choose(tab, {
      name: "quarters.png",
      mimeType: "image/png",
      buffer: Buffer.from(data.split(",")[1], "base64"),
    });
    const box = await tab.locator(".crop").boundingBox();
    await tab.mouse.move(box.x, box.y);
    await tab.mouse.down();
    await tab.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 4 });
    await tab.mouse.up();
    await tab.getByRole("button", { name: "Turn right" }).click();
    await tab.getByRole("button", { name: "Search", exact: true }).last().click();
    await results(tab);
    const sent = await lastSent(tab);
    // What was below on the right stays: white, now standing.
    assert.ok(sent.height > sent.width, `${sent.width} x ${sent.height}`);
    assert.deepEqual(sent.left, [255, 255, 255]);
  }));

/** The icon as a file inside the page, given to an event. */
const give = (tab, kind) =>
  tab.evaluate(
    ({ bytes, kind: event }) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
      if (event === "paste")
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
      else
        for (const name of ["dragenter", "dragover", "drop"])
          document.body.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    },
    { bytes: [...readFileSync(icon)], kind },
  );

test("an image is pasted", () =>
  page(world, "/", async (tab) => {
    await tab.locator(".example").first().waitFor();
    await give(tab, "paste");
    await tab.getByRole("dialog").getByRole("button", { name: "Search", exact: true }).click();
    assert.ok((await results(tab)).length > 5);
  }));

test("an image is dropped, on results too, and the search keeps its settings", () =>
  page(world, "/", async (tab) => {
    await tab.locator(".example").first().click();
    await results(tab);
    const slider = tab.getByRole("slider", { name: "Neighbours" });
    await slider.focus();
    await slider.press("Home");
    await tab.waitForURL(/[?&]k=1(&|$)/);
    await give(tab, "drop");
    await tab.getByRole("dialog").getByRole("button", { name: "Search", exact: true }).click();
    await tab.waitForURL(/[?&]q=.*k=1(&|$)/);
    assert.equal((await results(tab)).length, 1);
  }));

test("an address that is pasted is not fetched by a server that fetches none, and it says so", () =>
  page(world, "/", async (tab) => {
    await tab.locator(".example").first().waitFor();
    await tab.evaluate(() => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", "https://example.org/a.png");
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    });
    await tab.locator(".notice.wrong", { hasText: "This server fetches no addresses." }).waitFor();
  }));

test("the frame follows a long thin image", () =>
  page(world, "/", async (tab) => {
    const url = await tab.evaluate(() => {
      const canvas = document.createElement("canvas");
      canvas.width = 2000;
      canvas.height = 20;
      return canvas.toDataURL("image/png");
    });
    await choose(tab, { name: "thin.png", mimeType: "image/png", buffer: Buffer.from(url.split(",")[1], "base64") });
    // Both at one time: the dialog still moves while it opens.
    const [frame, picture] = await tab.evaluate(() =>
      [".crop", ".crop-frame canvas"].map((one) => document.querySelector(one).getBoundingClientRect().toJSON()),
    );
    for (const side of ["x", "y", "width", "height"]) assert.ok(Math.abs(frame[side] - picture[side]) < 1.5, side);
    assert.ok(picture.width > 20 * picture.height);
  }));

test("what is no image is refused kindly", () =>
  page(world, "/", async (tab) => {
    await tab.locator(".example").first().waitFor();
    await tab.evaluate(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["no image"], "letter.txt", { type: "text/plain" }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    });
    await tab.getByText("That is not an image file.").first().waitFor();
    const [chooser] = await Promise.all([
      tab.waitForEvent("filechooser"),
      tab.getByRole("button", { name: "Choose an image" }).click(),
    ]);
    await chooser.setFiles({ name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") });
    await tab.getByText("That is not an image that this browser can open.").first().waitFor();
    assert.equal(await tab.getByRole("dialog").count(), 0);
  }));

test("a frame of the webcam is searched", () =>
  page(world, "/", async (tab) => {
    await tab.getByRole("button", { name: "Webcam" }).click();
    const shutter = tab.getByRole("button", { name: "Take the picture" });
    await until(
      tab,
      () => document.querySelector("video")?.videoWidth > 0 && !document.querySelector("dialog .main").disabled,
    );
    await shutter.click();
    await tab
      .getByRole("dialog", { name: "Search with this image" })
      .getByRole("button", { name: "Search", exact: true })
      .click();
    assert.ok((await results(tab)).length > 5);
    assert.equal((await lastSent(tab)).type, "image/jpeg");
  }));

test("a camera that is not allowed is said", () =>
  page(world, "/", async (tab) => {
    await tab.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    });
    await tab.getByRole("button", { name: "Webcam" }).click();
    await tab.getByText("The browser was not allowed to use the camera.").waitFor();
    await tab.keyboard.press("Escape");
    assert.equal(await tab.getByRole("dialog").count(), 0);
  }));
