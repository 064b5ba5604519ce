// An index that misses something, compared and explained; stories that it cannot tell; and texts.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { explanation, graph, learned } from "./fixtures.mjs";
import { iconLists, names, page, results, serious, serve, setUp, shoot, someItems, texts, until } from "./support.mjs";

const world = setUp(iconLists);

test("lists, recall and exact comparison can be set", async () => {
  const { at, facts } = await someItems(world);
  assert.equal(facts.nlist, 8);
  await page(world, at(0), async (tab) => {
    const told = tab.locator(".timing");
    await results(tab);
    const slider = tab.getByRole("slider", { name: "Lists visited" });
    await slider.focus();
    await slider.press("Home");
    await tab.waitForURL(/nprobe=1(&|$)/);
    await told.getByText("1 of 8 lists visited").waitFor();
    const few = await names(tab);
    const exact = tab.getByRole("switch", { name: "Exact" });
    await exact.press("Space");
    await tab.waitForURL(/exact=1/);
    await told.getByText("69 vectors compared").waitFor();
    assert.notDeepEqual(await names(tab), few);
    await exact.press("Space");
    await tab.getByRole("radio", { name: "Recall" }).check({ force: true });
    await tab.waitForURL(/recall=0\.9/);
    await until(tab, () => /[2-8] of 8 lists visited/.test(document.querySelector(".timing").textContent));
  });
});

test("compare shows both ways, the recall, and marks what differs", async () => {
  const { at } = await someItems(world);
  await page(world, at(0, "&nprobe=1"), async (tab) => {
    await results(tab);
    await tab.getByRole("navigation", { name: "What is shown" }).getByRole("link", { name: "Compare" }).click();
    await tab.waitForURL(/view=compare/);
    const index = tab.getByRole("region", { name: "By the index" });
    const exact = tab.getByRole("region", { name: "Exact" });
    await exact.getByRole("listitem").first().waitFor();
    const ids = (root) => root.locator(".card").evaluateAll((all) => all.map((card) => card.dataset.id));
    const marked = (root) => root.locator(".card.marked").evaluateAll((all) => all.map((card) => card.dataset.id));
    const [found, truth] = [await ids(index), await ids(exact)];
    assert.notDeepEqual(found, truth);
    assert.deepEqual(
      await marked(exact),
      truth.filter((id) => !found.includes(id)),
    );
    assert.deepEqual(
      await marked(index),
      found.filter((id) => !truth.includes(id)),
    );
    const told = await tab.locator(".recall").innerText();
    assert.ok(told.includes(`Recall@${truth.length}`), told);
    await shoot(tab, "compare");
  });
});

test("explain tells the icons' search", async (t) => {
  const { at, facts } = await someItems(world);
  if (facts.asks.explain != null) return t.skip(facts.asks.explain);
  return page(world, at(0, "&nprobe=1&view=explain"), async (tab) => {
    await tab.getByRole("heading", { name: "It chose lists" }).waitFor();
    await tab.getByRole("heading", { name: "It narrowed down" }).waitFor();
    await tab.getByRole("heading", { name: "What it missed, and why" }).waitFor();
    await tab.getByText("List not visited").first().waitFor();
    assert.ok((await tab.locator(".p-hit").count()) > 0 && (await tab.locator(".p-missed").count()) > 0);
    await shoot(tab, "explain");
  });
});

/** Answers /api/explain with a story over items that exist. */
async function telling(world, story, test) {
  const { at, items, facts } = await someItems(world, 30);
  await page(world, "/", async (tab) => {
    await tab.route("**/api/explain", (route) => {
      const { map } = route.request().postDataJSON();
      return route.fulfill({
        json: story(
          items.map((item) => item.id),
          facts,
          map,
        ),
      });
    });
    await tab.route("**/api/collections", async (route) => {
      const answer = await (await route.fetch()).json();
      for (const one of answer.collections) one.asks.explain = null;
      await route.fulfill({ json: answer });
    });
    await tab.goto(world.url + at(0, "&view=explain"));
    await tab.locator(".story-step").first().waitFor();
    await test(tab, items);
  });
}

test("explain names lists, missed neighbours and their reasons", () =>
  telling(world, explanation, async (tab, items) => {
    const table = tab.getByRole("region", { name: "Lists in the order of the query" });
    assert.equal(await table.getByRole("row").count(), 1 + 4 + 1);
    await table.getByRole("row", { name: /not visited/ }).waitFor();
    const missed = tab.getByRole("region", { name: "Missed neighbours" });
    await missed.getByText("List not visited").waitFor();
    await missed.getByText("Lost to the code").waitFor();
    await tab.getByText(/Trustworthiness 0\.81/).waitFor();
    // Arrow keys go through the map and say what is there; Enter searches with it.
    const map = tab.locator("svg.map");
    await map.focus();
    await tab.keyboard.press("ArrowRight");
    await tab.locator(".map-tip", { hasText: "The query" }).waitFor();
    await tab.keyboard.press("ArrowRight");
    await tab.locator(".map-tip", { hasText: "missed" }).waitFor();
    await tab.locator(".map-tip img").waitFor();
    await tab.getByRole("radio", { name: "t-SNE" }).check({ force: true });
    await tab.waitForURL(/map=tsne/);
    await tab.getByText(/Trustworthiness 0\.94/).waitFor();
    assert.equal(await tab.evaluate(() => document.activeElement.value), "tsne", "the focus stays on the choice");
    await shoot(tab, "explain-lists");
    // A point under the pointer is a search.
    const hit = await tab.locator(".p-hit").first().boundingBox();
    await tab.mouse.move(hit.x + hit.width / 2, hit.y + hit.height / 2);
    await tab.locator(".map-tip", { hasText: "found" }).waitFor();
    await tab.mouse.click(hit.x + hit.width / 2, hit.y + hit.height / 2);
    await tab.waitForURL(
      (url) => !url.search.includes("view=") && items.some((item) => item.id === url.searchParams.get("id")),
    );
    await results(tab);
  }));

test("explain shows a learned partition's probabilities", () =>
  telling(world, learned, async (tab) => {
    await tab.getByText("A model gave each list a probability").waitFor();
    await tab.getByRole("columnheader", { name: "Probability" }).waitFor();
    await tab.getByRole("button", { name: /Show all 20 visited lists/ }).click();
    assert.equal(
      await tab.getByRole("region", { name: "Lists in the order of the query" }).getByRole("row").count(),
      1 + 20,
    );
  }));

test("explain walks a graph level by level", () =>
  telling(world, graph, async (tab) => {
    await tab.getByRole("heading", { name: "It walked a graph" }).waitFor();
    for (const level of ["Level 2", "Level 1", "Level 0, all vectors"])
      await tab.getByRole("heading", { name: level }).waitFor();
    assert.equal(await tab.locator(".hop").count(), 7);
    await until(tab, () =>
      [...document.querySelectorAll(".hop img")].every((img) => img.complete && img.naturalWidth > 0),
    );
    await shoot(tab, "explain-graph");
  }));

test("an exact comparison that goes by codes says so", async () => {
  const { at } = await someItems(world);
  await page(world, "/", async (tab) => {
    await tab.route("**/api/collections", async (route) => {
      const answer = await (await route.fetch()).json();
      for (const one of answer.collections) one.exact_by = "codes";
      await route.fulfill({ json: answer });
    });
    await tab.goto(world.url + at(0));
    await results(tab);
    await tab.getByRole("switch", { name: "Exact (by codes)" }).waitFor();
    await tab.goto(world.url + at(0, "&view=compare"));
    await tab.getByRole("region", { name: "Exact (by codes)" }).getByRole("listitem").first().waitFor();
  });
});

test("a graph is searched more thoroughly by keeping more", async () => {
  const { at } = await someItems(world);
  await page(world, "/", async (tab) => {
    await tab.route("**/api/collections", async (route) => {
      const answer = await (await route.fetch()).json();
      for (const one of answer.collections) Object.assign(one, { spec: "HNSW8,Flat", nlist: 1, ef: 64 });
      await route.fulfill({ json: answer });
    });
    const asked = [];
    // The index of these tests has lists: it knows nothing of what a graph keeps.
    await tab.route("**/api/search", (route) => {
      const { ef, ...rest } = route.request().postDataJSON();
      asked.push(ef);
      return route.continue({ postData: JSON.stringify(rest) });
    });
    await tab.goto(world.url + at(0));
    await results(tab);
    assert.equal(await tab.getByText("every vector is compared").count(), 0);
    const slider = tab.getByRole("slider", { name: "How thoroughly" });
    assert.equal(await slider.getAttribute("aria-valuetext"), "64 kept");
    await slider.focus();
    await slider.press("End");
    await tab.waitForURL(/ef=512/);
    await results(tab);
    assert.deepEqual([asked[0], asked.at(-1)], [undefined, 512]);
    await slider.press("Home");
    await tab.waitForURL(/ef=20(&|$)/);
    await shoot(tab, "graph-results");
  });
});

test("texts are shown as texts, and searched by their ids", async () => {
  const { folder, args } = texts();
  const server = await serve(args);
  const there = { ...world, url: server.url };
  try {
    await page(there, "/", async (tab) => {
      await tab.getByRole("heading", { level: 1, name: "Choose one to find its neighbours" }).waitFor();
      await tab.locator(".example-words").first().waitFor();
      assert.deepEqual(await serious(tab), []);
      await tab.getByRole("textbox", { name: "Search by name or id" }).fill("7");
      await tab.keyboard.press("Enter");
      assert.equal((await results(tab)).length, 20);
      // What a text says is text, not markup.
      assert.match(await tab.locator(".card-text").first().innerText(), /of its kind, written <b>plainly<\/b>/);
      assert.equal(await tab.locator("#main b").count(), 0);
      assert.equal(await tab.locator(".content img").count(), 0);
      assert.deepEqual(await serious(tab), []);
      await shoot(tab, "texts");
      await tab.locator(".card-open").first().click();
      await tab.getByRole("dialog").locator("blockquote").getByText("of its kind").waitFor();
    });
    await page(
      there,
      "/",
      async (tab) => {
        await tab.getByRole("textbox", { name: "Search by name or id" }).fill("none");
        await tab.keyboard.press("Enter");
        await tab.locator(".notice.wrong").waitFor();
      },
      { expected: /40[04]/ },
    );
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true });
  }
});
