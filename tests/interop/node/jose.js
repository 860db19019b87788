// Verifies and makes signatures with the package jose: the question on standard input, the answer on standard output,
// as tests/interop/jose.py says.
import { readFileSync } from "node:fs";
import {
  base64url, calculateJwkThumbprint, CompactSign, compactVerify, exportJWK, FlattenedSign, flattenedVerify,
  generateKeyPair, importJWK,
} from "jose";

async function verify({ alg, jwk, jws, payload }) {
  const key = await importJWK(jwk, alg);
  try {
    if (payload === undefined) {
      await compactVerify(jws, key, { algorithms: [alg] });
    } else {
      const [head, middle, signature] = jws.split(".");
      if (middle !== "") return "";
      await flattenedVerify({ protected: head, payload, signature }, key, { algorithms: [alg] });
    }
  } catch {
    return "";
  }
  return calculateJwkThumbprint(jwk);
}

async function sign({ alg, typ, payload, detached }) {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const jwk = await exportJWK(publicKey);
  const header = { alg, kid: await calculateJwkThumbprint(jwk), typ };
  if (!detached) {
    return { jwk, jws: await new CompactSign(base64url.decode(payload)).setProtectedHeader(header).sign(privateKey) };
  }
  const made = await new FlattenedSign(base64url.decode(payload)).setProtectedHeader(header).sign(privateKey);
  return { jwk, jws: `${made.protected}..${made.signature}` };
}

const asked = JSON.parse(readFileSync(0, "utf8"));
const told = { verified: {}, signed: {} };
for (const one of asked.verify) told.verified[one.name] = await verify(one);
for (const one of asked.sign) told.signed[one.name] = await sign(one);
console.log(JSON.stringify(told));
