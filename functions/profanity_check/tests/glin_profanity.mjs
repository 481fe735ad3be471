// Writes glin_profanity.json: what glin-profanity says of every text of the labelled sets, 1 where it finds profanity.
//   npm install --prefix /tmp/glin glin-profanity@3.3.0
//   node functions/profanity_check/tests/glin_profanity.mjs /tmp/glin
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const [home] = process.argv.slice(2);
const { Filter } = await import(path.resolve(home, "node_modules/glin-profanity/dist/index.js"));
const { name, version } = JSON.parse(fs.readFileSync(path.resolve(home, "node_modules/glin-profanity/package.json")));
const languages = ["english", "german", "french", "spanish"];
const configurations = {
  "as it comes": {},
  "four languages": { languages },
  "leetspeak, basic": { languages, detectLeetspeak: true, leetspeakLevel: "basic" },
  "leetspeak, moderate": { languages, detectLeetspeak: true, leetspeakLevel: "moderate" },
  "leetspeak, aggressive": { languages, detectLeetspeak: true, leetspeakLevel: "aggressive" },
  "… and parts of words": { languages, detectLeetspeak: true, leetspeakLevel: "aggressive", allowObfuscatedMatch: true, wordBoundaries: false },
};
const folder = path.dirname(fileURLToPath(import.meta.url));
const verdicts = {};
for (const file of fs.readdirSync(folder).filter((file) => file.endsWith(".tsv")).sort()) {
  const texts = fs.readFileSync(path.join(folder, file), "utf8").trimEnd().split("\n").map((line) => unescape(line.slice(line.indexOf("\t") + 1)));
  verdicts[file] = {};
  for (const [key, configuration] of Object.entries(configurations)) {
    const filter = new Filter(configuration);
    verdicts[file][key] = texts.map((text) => Number(filter.checkProfanity(text).containsProfanity)).join("");
  }
}
fs.writeFileSync(path.join(folder, "glin_profanity.json"), JSON.stringify({ package: name, version, license: "MIT", verdicts }, null, 1) + "\n");

function unescape(text) {
  const named = { n: "\n", t: "\t", r: "\r", "\\": "\\", "'": "'", '"': '"' };
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([ntr\\'"]))/g, (_, u, U, x, simple) =>
    simple ? named[simple] : String.fromCodePoint(parseInt(u ?? U ?? x, 16)),
  );
}
