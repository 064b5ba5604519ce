// By keyboard alone, with a screen reader's eyes, on a phone, dark and light.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  choose,
  elsewhere,
  faissFile,
  iconLists,
  icons,
  page,
  results,
  serious,
  setUp,
  shoot,
  someItems,
  until,
} from "./support.mjs";

const world = setUp(iconLists);

/** Presses Tab until what has the focus is meant. */
async function tabTo(tab, name, role) {
  for (let i = 0; i < 120; i += 1) {
    await tab.keyboard.press("Tab");
    const at = await tab.evaluate(() => [
      document.activeElement.textContent.trim() || document.activeElement.getAttribute("aria-label") || "",
      document.activeElement.tagName,
    ]);
    if (name.test(at[0]) && (!role || at[1] === role)) return;
  }
  assert.fail(`Tab does not reach ${name}`);
}

const focusedId = (tab) => tab.evaluate(() => document.activeElement.id);

test("a search, a look at a result and the next search by keyboard alone", () =>
  page(world, "/", async (tab) => {
    await tab.locator(".example").first().waitFor();
    await tab.keyboard.press("Tab");
    assert.equal(await tab.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await tab.keyboard.press("Enter");
    await tabTo(tab, /^Search with /, "A");
    await tab.keyboard.press("Enter");
    const first = await results(tab);
    assert.equal(await focusedId(tab), "query-title");
    await tabTo(tab, /^Rank 1/, "BUTTON");
    await tab.keyboard.press("Enter");
    const dialog = tab.getByRole("dialog");
    await dialog.waitFor();
    // The focus stays inside, arrow keys go on, and closing gives it back to the item that was looked at last.
    for (let i = 0; i < 12; i += 1) {
      await tab.keyboard.press("Tab");
      assert.ok(
        await tab.evaluate(
          () =>
            document.activeElement === document.body ||
            document.querySelector("dialog").contains(document.activeElement),
        ),
      );
    }
    await tab.keyboard.press("ArrowRight");
    await dialog.getByText(`2 / ${first.length}`).waitFor();
    await tab.keyboard.press("Escape");
    await until(tab, (id) => document.activeElement.closest(".card")?.dataset.id === id, first[1]);
    await tab.keyboard.press("Enter");
    await dialog.waitFor();
    await tabTo(tab, /^Search with this one$/, "A");
    await tab.keyboard.press("Enter");
    await tab.waitForURL((url) => url.searchParams.get("id") === first[1]);
    await results(tab);
    assert.equal(await focusedId(tab), "query-title");
    assert.match(await tab.locator("#live").innerText(), /^\d+ of [\d,]+ in /);
  }));

test("the tabs and the colours by keyboard", async () => {
  const { at } = await someItems(world);
  await page(world, at(0), async (tab) => {
    await results(tab);
    await tabTo(tab, /^Compare$/, "A");
    await tab.keyboard.press("Enter");
    await tab.waitForURL(/view=compare/);
    assert.equal(await focusedId(tab), "content-title");
    const button = tab.getByRole("button", { name: /^Colours/ });
    const colour = () => tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await colour();
    await button.press("Enter");
    await button.press("Enter");
    assert.notEqual(await colour(), light);
    await tab.reload();
    assert.notEqual(await colour(), light);
  });
});

/** Every view, as an address and what must be there before it is looked at. */
async function views(world) {
  const { at } = await someItems(world);
  return [
    ["start", "/", ".example"],
    ["results", at(0), ".content .card"],
    ["compare", at(0, "&view=compare"), ".pair .card"],
    ["explain", at(0, "&nprobe=1&view=explain"), ".story-step"],
    ["class", at(0, "&view=explain&label=places"), ".story-step"],
    ["forgotten", "/?q=qgone", ".message"],
    ["unknown", "/?c=none-such", ".message"],
  ];
}

// Each layout and each set of colours once.
for (const [scheme, device, width, height] of [
  ["light", "wide", 1280, 900],
  ["dark", "phone", 320, 640],
]) {
  test(`nothing serious for axe, nothing wider than the screen: ${scheme}, ${device}`, () =>
    page(
      world,
      "/",
      async (tab) => {
        for (const [name, path, sign] of await views(world)) {
          await tab.goto(world.url + path);
          await tab.locator(sign).first().waitFor();
          assert.deepEqual(await serious(tab), [], name);
          assert.ok(
            await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
            `${name} is wider than the screen`,
          );
          await shoot(tab, `${name}-${device}-${scheme}`);
        }
        // The dialogs: one item, the editor, the camera.
        await tab.goto(world.url + "/");
        await tab.locator(".card-open").first().click();
        await until(tab, () => document.querySelector("dialog img")?.complete);
        assert.deepEqual(await serious(tab), [], "item");
        await shoot(tab, `item-${device}-${scheme}`);
        await tab.keyboard.press("Escape");
        await choose(tab, join(icons, "places", "folder.png"));
        assert.deepEqual(await serious(tab), [], "editor");
        assert.ok(
          await tab.evaluate(() => document.querySelector("dialog").scrollWidth <= innerWidth),
          "the editor is wider than the screen",
        );
        await shoot(tab, `editor-${device}-${scheme}`);
        await tab.keyboard.press("Escape");
        await tab.getByRole("button", { name: "Webcam" }).click();
        await until(tab, () => document.querySelector("dialog video")?.videoWidth > 0);
        assert.deepEqual(await serious(tab), [], "webcam");
        await shoot(tab, `webcam-${device}-${scheme}`);
      },
      { scheme, width, height, expected: /404/ },
    ));

  test(`the walk through a graph: ${scheme}, ${device}`, () =>
    elsewhere(world, faissFile("hnsw.index"), async (there) => {
      const { at } = await someItems(there);
      const look = async (tab) => {
        await tab.locator(".hop").first().waitFor();
        assert.deepEqual(await serious(tab), []);
        assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
        await shoot(tab, `graph-${device}-${scheme}`);
      };
      await page(there, at(0, "&view=explain"), look, { scheme, width, height });
    }));
}

test("moving pictures keep still for who wants that", async () => {
  await page(world, "/", async (tab) => {
    await tab.emulateMedia({ reducedMotion: "reduce" });
    await tab.locator(".example").first().waitFor();
    assert.equal(await tab.evaluate(() => document.getAnimations().length), 0);
  });
});

test("the token can be given on the page that asks for it", async () => {
  const token = "a-token-of-these-tests";
  await elsewhere(world, [world.folder, "--token", token], (there) =>
    page(
      there,
      "/?token=wrong-token",
      async (tab) => {
        await tab.getByRole("heading", { level: 1, name: "That is not the token" }).waitFor();
        assert.deepEqual(await serious(tab), []);
        assert.notEqual(await tab.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgba(0, 0, 0, 0)");
        await shoot(tab, "token");
        await tab.getByLabel("Token").fill(token);
        await tab.keyboard.press("Enter");
        await tab.getByRole("heading", { level: 1, name: "What looks like this?" }).waitFor();
        assert.ok(!tab.url().includes("token"), tab.url());
      },
      { expected: /401/ },
    ),
  );
});
