// Judges batch signatures (contracts/SPEC.md, section 4.3), written from that text alone and with nothing installed.
// In: a JSON array of {"jwk", "value", "jws", "proof"}, value in base64url. Out: a JSON array of true and false.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
const INSTANT = /^2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z$/;
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const decode = (text, bytes) => {
  const raw = Buffer.from(text, "base64url");
  if (raw.toString("base64url") === text && (!bytes || raw.length === bytes)) return raw;
  throw new Error("base64url");
};

// P and the statement are flat: text, and one integer. What no such object matches is refused, twice-named members too.
function readFlat(raw, names) {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  const found = new Map();
  const pair = /[ \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*("(?:[^"\\]|\\.)*"|[0-9]+)[ \t\n\r]*([,}])/y;
  pair.lastIndex = text.match(/^[ \t\n\r]*\{/)[0].length;
  for (let end = ","; end === ",";) {
    const [, name, value, next] = pair.exec(text);
    if (found.has(JSON.parse(name))) throw new Error("a name twice");
    found.set(JSON.parse(name), JSON.parse(value));
    end = next;
  }
  if (!/^[ \t\n\r]*$/.test(text.slice(pair.lastIndex))) throw new Error("more than an object");
  if ([...found.keys()].sort().join() !== [...names].sort().join()) throw new Error("members");
  return Object.fromEntries(found);
}

function rootOf(value, index, size, path) { // RFC 9162, 2.1.3.2
  let [fn, sn, hash] = [index, size - 1, sha256(Buffer.of(0), value)];
  for (let i = 0; i < path.length; i += 32) {
    const sibling = path.subarray(i, i + 32);
    if (sn === 0) throw new Error("a sibling left over");
    const left = fn % 2 === 1 || fn === sn;
    hash = left ? sha256(Buffer.of(1), sibling, hash) : sha256(Buffer.of(1), hash, sibling);
    while (left && fn % 2 === 0 && fn !== 0) [fn, sn] = [fn >> 1, sn >> 1];
    [fn, sn] = [fn >> 1, sn >> 1];
  }
  if (sn === 0) return hash;
  throw new Error("a sibling missing");
}

function judge({ jwk, value, jws, proof }) {
  const [head, payload, signature] = jws.split(".");
  const { alg, typ } = readFlat(decode(head), ["alg", "kid", "typ"]);
  const said = readFlat(decode(payload), ["vds", "iss", "aud", "size", "root", "first", "last", "prev", "iat"]);
  const [known, digest] = jwk.kty === "OKP" ? ["Ed25519", null] : ["ES256", "sha256"];
  if (typ !== "tkahub-batch+jws" || alg !== known) throw new Error("typ or alg");
  const key = { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
  if (!verify(digest, Buffer.from(`${head}.${payload}`), key, decode(signature, 64))) throw new Error("signature");
  const [, index, path] = proof.match(/^(0|[1-9][0-9]*)\.([A-Za-z0-9_-]*)$/);
  if (said.vds !== "RFC9162_SHA256" || said.size > 64 || +index >= said.size) throw new Error("size");
  if (![said.first, said.last].every((n) => /^[0-9]{20}$/.test(n)) || !INSTANT.test(said.iat)) throw new Error("form");
  if (decode(said.prev, 32) && BigInt(said.last) - BigInt(said.first) + 1n < said.size) throw new Error("range");
  return rootOf(decode(value), +index, said.size, decode(path)).equals(decode(said.root, 32));
}

const judged = JSON.parse(readFileSync(0)).map((one) => { try { return judge(one); } catch { return false; } });
console.log(JSON.stringify(judged));
