// A person who logs in to the console at an OpenID provider, in Chromium: from the console to the provider and back, and out again.
//
//   node oidc.mjs '{"tools", "chromium", "url", "issuer", "out"}'
//
// Ends with 0 when all held, and says what did not.
import assert from 'node:assert/strict';
import { open, watched } from './chromium.mjs';

const { tools, chromium, url, issuer, out } = JSON.parse(process.argv[2]);
const { browser, pictured } = await open({ tools, chromium, out });

/** A browser of a person's own, at the console's page after the login at the provider. */
async function loggedIn(login) {
  const context = await browser.newContext({ locale: 'en-GB' });
  const page = watched(await context.newPage());
  // The provider's page asks for a font of another's, which is not part of this.
  await page.route((to) => ![url, issuer].includes(to.origin), (route) => route.abort());
  await page.goto(`${url}/`);
  assert.equal(new URL(page.url()).pathname, '/login', 'nobody is logged in yet');
  await page.getByRole('link', { name: 'Log in at your organisation' }).click();
  await page.waitForURL((to) => to.origin === issuer);
  await page.fill('[name=login]', login);
  await page.fill('[name=password]', 'any');
  await page.click('[type=submit]');
  await page.waitForURL((to) => to.origin === url);
  return { context, page };
}

const { context, page } = await loggedIn('op-7');
await page.waitForURL(`${url}/`);
assert.match(await page.textContent('#figure-arrived'), /^\d+$/, 'the overview');
const header = await page.textContent('header');
assert.ok(header.includes('op-7') && header.includes('operator'), header);
const cookies = (await context.cookies(url)).map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
assert.deepEqual(cookies, [{ name: 'kvit', httpOnly: true, sameSite: 'Strict' }], 'the session, and nothing of the login');

// The role is one that may act: as a person does it, by the page.
await page.goto(`${url}/pauses`);
const form = page.locator('form[action="/act/pause"]');
await page.locator('details.act', { has: form }).locator('summary').click();
await form.locator('[name=what]').selectOption('department');
await form.locator('[name=name]').fill('social');
await form.locator('[name=why]').fill('moving');
await form.locator('button').click();
await page.waitForSelector('[role=status]');

await page.locator('form[action="/logout"] button').click();
await page.waitForURL(`${url}/login`);
assert.deepEqual((await context.cookies(url)).map((one) => one.name), [], 'nothing is left of the session');
await page.goto(`${url}/`);
assert.equal(new URL(page.url()).pathname, '/login', 'logged out');
await pictured(page, 'login-oidc');

// Whom no group lets in is told so, on a page of the console.
const guest = await loggedIn('guest-1');
assert.match(await guest.page.textContent('[role=alert]'), /none of your groups has a role/);
assert.deepEqual((await guest.context.cookies(url)).filter((one) => one.name === 'kvit'), [], 'no session');
await pictured(guest.page, 'login-oidc-refused');

await browser.close();
