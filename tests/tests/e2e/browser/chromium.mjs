// Chromium, and how a page of the console is judged in it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** Debian's Chromium, driven by the Playwright in the folder `tools`; and `pictured`, which leaves its pictures in `out`. */
export async function open({ tools, chromium, out }) {
  const require = createRequire(path.join(tools, 'node_modules', 'x.js'));
  const { chromium: browserType } = require('playwright-core');
  const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  fs.mkdirSync(out, { recursive: true });
  const browser = await browserType.launch({
    executablePath: chromium,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  });
  return { browser, pictured: (page, place) => pictured(page, place, axe, out) };
}

/** What must never happen in a page fails the test. */
export function watched(page) {
  page.on('dialog', (dialog) => { throw new Error(`a dialog opened: ${dialog.message()}`); });
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content.Security|Refused/i.test(message.text())) {
      throw new Error(`the policy was broken: ${message.text()}`);
    }
  });
  return page;
}

/** A page in both themes and two widths: axe finds nothing, nothing is wider than the window, and a picture is left. axe is
 * run beside the page's policy, not by it. */
async function pictured(page, place, axe, out) {
  await page.evaluate(() => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
  assert.doesNotMatch(await page.textContent('main'), /field-/, `${place} has a word that no language has`);
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 360]) {
      const name = `${place}-${colorScheme}-${width}`;
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const asked = { expression: 'axe.run({ resultTypes: ["violations"] }).then((found) => JSON.stringify(found.violations))' };
      const { result } = await session.send('Runtime.evaluate', { ...asked, awaitPromise: true });
      const found = JSON.parse(result.value).map((one) => `${one.id}: ${one.nodes[0].html}`);
      assert.deepEqual(found, [], name);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
      assert.ok(!wide, `${name} is wider than the window`);
      await page.screenshot({ path: path.join(out, `${name}.png`), fullPage: true });
    }
  }
  await session.detach();
}
