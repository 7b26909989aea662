// Look at studies in OHIF with a real Chromium: node look.js < request.json; the answer is JSON on standard output.
//   url, user, password, key (SHA-256 of the server's public key, base64: no other is spoken to),
//   studies: [{uid, name, screenshot}]   name: what the study list must show of it; both may be missing
const { chromium } = require('playwright-core');
const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const patience = { timeout: 90_000 };

// A canvas with many shades of grey is an image; an empty one, or a message, has few.
const shades = () => {
  const canvas = document.querySelector('.cornerstone-canvas');
  if (!canvas || !canvas.width) return 0;
  const copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0);
  const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
  const seen = new Set();
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3]) seen.add(pixels[at]);
  return seen.size;
};

const rest = milliseconds => new Promise(done => setTimeout(done, milliseconds));

// Asked from here again and again: a wait inside the page ends with the page's document, and OHIF may begin another.
async function imageOn(page) {
  let timer;
  const late = new Promise((_, reject) => {
    const told = () => reject(new Error(`no image on ${page.url()} within ${patience.timeout / 1000} s`));
    timer = setTimeout(told, patience.timeout);
  });
  const shown = async () => {
    for (;;) {
      const seen = await page.evaluate(shades).catch(error => {
        if (!/context was destroyed|Cannot find context|because of a navigation/i.test(String(error))) throw error;
        return 0;
      });
      if (seen > 24) return seen;
      await rest(250);
    }
  };
  try {
    return await Promise.race([shown(), late]);
  } finally {
    clearTimeout(timer);
  }
}

const complaints = [];
const outside = [];

async function main() {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', `--ignore-certificate-errors-spki-list=${asked.key}`,
    ],
  });
  try {
    const stranger = await (await browser.newContext()).newPage();
    const turnedAway = await stranger.goto(asked.url, patience).then(() => 'let in', error => String(error));

    const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
    page.on('pageerror', error => complaints.push(String(error)));
    page.on('console', message => {
      if (/Content Security Policy|Couldn't decode|Refused/.test(message.text())) complaints.push(message.text());
    });
    page.on('request', request => {
      const url = new URL(request.url());
      if (url.protocol.startsWith('http') && url.host !== new URL(asked.url).host) outside.push(url.host);
    });

    // Logging in by the address makes Chromium remember it, as its dialog does.
    const login = `${encodeURIComponent(asked.user)}:${encodeURIComponent(asked.password)}@`;
    await page.goto(asked.url.replace('://', `://${login}`), patience);
    const listed = [];
    for (const study of asked.studies.filter(each => each.name)) {
      await page.getByText(study.name).first().waitFor(patience);
      listed.push(study.name);
    }
    const seen = [];
    for (const study of asked.studies) {
      await page.goto(`${asked.url}/viewer?StudyInstanceUIDs=${study.uid}`, patience);
      for (const button of ['Skip all', 'Confirm and hide']) {
        // The tour and the notice show up once, and may be late.
        await page.getByText(button).click({ timeout: seen.length ? 500 : 20_000 }).catch(() => {});
      }
      seen.push({ uid: study.uid, shades: await imageOn(page) });
      if (study.screenshot) await page.screenshot({ path: study.screenshot });
    }
    const shared = await page.evaluate(() => crossOriginIsolated);
    process.stdout.write(JSON.stringify({ turnedAway, listed, seen, shared, complaints, outside }));
  } finally {
    await browser.close();
  }
}

main().catch(error => {
  process.stderr.write(`${error.stack}\n${complaints.join('\n')}\n`);
  process.exit(1);
});
