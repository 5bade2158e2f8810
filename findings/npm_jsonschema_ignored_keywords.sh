#!/usr/bin/env bash
# npm's `jsonschema`: keywords that it does not know pass in silence, `dependentRequired` of the current drafts too.
#
# Version: jsonschema 1.5.0, Node.js 20.
# Behaviour: the validator behind server-side form checks of developer portals knows drafts up to 7. An instance that
# violates a keyword of draft 2019-09 or 2020-12 is valid for it, without a warning, whatever `$schema` says. The older
# spelling, `dependencies`, is checked.
# Seen: "dependentRequired: valid", "prefixItems: valid", "unevaluatedProperties: valid", "minContains: valid",
# "dependencies: 1 error". Exits 1 if one of the first four finds something, or the last nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit jsonschema@1.5.0
cat > check.js <<'JS'
const {validate} = require('jsonschema');
const draft = {$schema: 'https://json-schema.org/draft/2020-12/schema'};
const cases = {
  dependentRequired: [{card: 1}, {dependentRequired: {card: ['address']}}],
  prefixItems: [['text'], {prefixItems: [{type: 'number'}]}],
  unevaluatedProperties: [{extra: 1}, {properties: {name: {}}, unevaluatedProperties: false}],
  minContains: [[1], {contains: {type: 'number'}, minContains: 2}],
  dependencies: [{card: 1}, {dependencies: {card: ['address']}}],
};
let as_seen = true;
for (const [keyword, [instance, schema]] of Object.entries(cases)) {
  const {errors} = validate(instance, {...draft, ...schema});
  console.log(`${keyword}: ${errors.length ? `${errors.length} error` : 'valid'}`);
  as_seen &&= (errors.length > 0) === (keyword === 'dependencies');
}
process.exit(as_seen ? 0 : 1);
JS
node check.js
