// Asks the AsyncAPI project's own parser. In: an AsyncAPI document. Out: a JSON array of what is wrong with it.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;
const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const wrong = diagnostics.filter((one) => one.severity === ERROR).map((one) => `${one.path.join("/")}: ${one.message}`);
process.stdout.write(JSON.stringify(document ? wrong : ["no document", ...wrong]));
