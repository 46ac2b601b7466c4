// A person at the console, in Chromium: each page in both themes and two widths, judged by axe; actions; live updates.
//
//   node console.mjs '{"tools", "chromium", "url", "password", "people", "actions", "certificate", "out"}'
//
// Ends with 0 when all held, and says what did not. Pictures of every page are left in the folder `out`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { open, watched } from './chromium.mjs';

const { tools, chromium, url, password, people, actions, certificate, out } = JSON.parse(process.argv[2]);

const PAGES = ['', 'submissions', 'quarantine', 'duties', 'pauses', 'schedules', 'events', 'keys', 'evidence', 'acts',
  'keys-of-the-keyboard'];
const HOSTILE = '"\'><img src=x onerror=alert(1)><script>alert(2)</script>';

const { browser, pictured } = await open({ tools, chromium, out });

/** A browser of a person's own, who is logged in. */
async function person(login, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = watched(await context.newPage());
  await page.goto(`${url}/login`);
  await page.fill('#login', login);
  await page.fill('#password', password);
  await Promise.all([page.waitForURL((to) => to.pathname !== '/login'), page.click('main button')]);
  return { context, page };
}

/** Fills and sends a form of a page; where it must be refused, the page says so. */
async function act(page, place, action, fields, outcome = 'status') {
  await page.goto(`${url}/${place}`);
  const form = page.locator(`form[action="/act/${action}"]`);
  await page.locator('details.act', { has: form }).locator('summary').click();
  for (const [name, value] of Object.entries(fields)) {
    const field = form.locator(`[name="${name}"]`);
    const isList = await field.evaluate((one) => one.tagName === 'SELECT');
    await (isList ? field.selectOption(value) : field.fill(value));
  }
  await form.locator('button').click();
  await page.waitForSelector(`[role=${outcome}]`);
  done.add(action);
}

/** What is done to the first of a list, or to all that match, after it was counted; a discard is typed. */
async function bulk(page, place, action, field) {
  await page.goto(`${url}/${place}`);
  if (field === 'do') await page.locator('input[name=ids]').first().check();
  await page.click(`button[name=${field}][value="${action}"]`);
  const matched = await page.textContent('#matched');
  assert.ok(Number(matched) > 0, `${action}: ${matched} match`);
  if (action.endsWith('.discard')) {
    await page.fill('#why', HOSTILE);
    await page.fill('#expect', matched);
  }
  await page.click('main button');
  await page.waitForSelector('[role=status]');
  done.add(action);
}
const done = new Set();

/** Where the first link of a list leads. */
async function first(page, list) {
  await page.goto(`${url}/${list}`);
  return (await page.locator('tbody a').first().getAttribute('href')).slice(1);
}

/** Every page. */
async function pictures() {
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto(`${url}/login`);
  await pictured(stranger, 'login');
  const { context, page } = await person('operator');
  const places = Object.fromEntries(PAGES.map((place) => [place || 'overview', place]));
  places.submission = await first(page, 'submissions');
  places.event = await first(page, 'events');
  places.schedule = await first(page, 'schedules');
  places['set-aside'] = await first(page, 'quarantine');
  places.confirm = 'confirm?all-of=quarantine.discard&reason=malformed';
  places['not-there'] = 'submissions/show?id=K-0000-0000';
  for (const [name, place] of Object.entries(places)) {
    await page.goto(`${url}/${place}`);
    await pictured(page, name);
  }
  await act(page, 'schedules', 'schedule.run', { name: 'purge', dry_run: 'true' });
  await pictured(page, 'result');
  await context.close();
}

/** Everybody is offered what the table allows the role, and nothing else. */
async function roles() {
  for (const [login, role] of people) {
    const { context, page } = await person(login);
    const places = await page.locator('nav a').evaluateAll((links) => links.map((link) => link.href));
    const offered = new Set();
    for (const place of places) {
      await page.goto(place);
      const found = await page.evaluate(() => [
        ...[...document.querySelectorAll('form[action^="/act/"]')].map((form) => form.getAttribute('action').slice(5)),
        ...[...document.querySelectorAll('button[name=do], button[name=all-of]')].map((button) => button.value),
      ]);
      found.forEach((action) => offered.add(action));
    }
    const allowed = actions.filter((action) => action.changes && action.roles.includes(role)).map((one) => one.name);
    // A person of one department has no rows there to select.
    const expected = login === role ? allowed : allowed.filter((name) => !/^(duty|quarantine)\./.test(name));
    assert.deepEqual([...offered].sort(), expected.sort(), login);
    await context.close();
  }
}

/** The keyboard, and a language that stays; it reads without JavaScript; a department's person sees events alone. */
async function everyday() {
  const { page } = await person('officer');
  await page.goto(url);
  await page.keyboard.press('q');
  await page.waitForURL(`${url}/quarantine`);
  await page.keyboard.press('?');
  await page.waitForURL(`${url}/keys-of-the-keyboard`);
  await page.locator('form[action="/language"] button').click();
  await page.waitForURL(`${url}/`);
  assert.equal(await page.getAttribute('html', 'lang'), 'da');
  const plain = await person('viewer', { javaScriptEnabled: false });
  await plain.page.goto(url);
  assert.match(await plain.page.textContent('#figure-arrived'), /^\d+$/);
  const department = await person('department');
  assert.equal(new URL(department.page.url()).pathname, '/events');
  assert.equal(await department.page.locator('nav a').count(), 1);
}

await Promise.all([pictures(), roles().then(everyday)]);

// Each action, by a person who may.
const { page } = await person('operator');
await page.goto(`${url}/quarantine`);
const before = await page.locator('input[name=ids]').count();
await bulk(page, 'quarantine', 'quarantine.retry', 'do');
await bulk(page, 'quarantine', 'quarantine.discard', 'do');
await page.goto(`${url}/quarantine`);
assert.equal(await page.locator('input[name=ids]').count(), before - 1);
for (const action of ['duty.hold', 'duty.release', 'duty.retry']) {
  await bulk(page, 'duties?kind=department_mail', action, 'all-of');
}
await bulk(page, 'duties?kind=department_mail&state=ready', 'duty.discard', 'do');
await act(page, 'schedules', 'schedule.run', { name: 'keys' });
const event = decodeURIComponent((await first(page, 'events')).split('event=')[1]);
await act(page, 'events', 'event.set', { event, held: '2099-01-21T21:00' });
await act(page, 'events', 'registration.export', { event, to: 'teknik-miljoe' });
for (const action of ['registration.confirm', 'event.erased']) {
  await act(page, 'events', action, { event, code: 'ABCD-EFGH' }, 'alert');
}
await page.goto(`${url}/submissions?form=fest`);
const registration = (await page.locator('tbody a').first().textContent()).trim();
await act(page, 'submissions', 'registration.withdraw', { id: registration });
await act(page, 'events', 'event.cancel', { event });
await act(page, 'pauses', 'pause', { what: 'department', name: 'social', why: 'moving' });
await act(page, 'pauses', 'resume', { what: 'department', name: 'social' });
const keys = await person('key-admin');
await act(keys.page, 'keys', 'key.test', { department: 'social' });
await act(keys.page, 'keys', 'key.add', { department: 'social', certificate });
assert.deepEqual([...done].sort(), actions.filter((one) => one.changes).map((one) => one.name).sort());

// What another person does shows by itself, as words and nothing else.
const other = await person('viewer');
await other.page.goto(url);
await act(page, 'pauses', 'pause', { what: 'department', name: 'social', why: HOSTILE });
await other.page.waitForFunction((words) => document.querySelector('#live').textContent.includes(words), HOSTILE);
assert.equal(await other.page.locator('#live img').count(), 0);

await browser.close();
console.log(`${fs.readdirSync(out).length} pictures in ${out}`);
