// What the form library and the server's check say of values: reads a JSON list of {schema, value}, writes two verdicts each.
'use strict';
const validator = require('@rjsf/validator-ajv8').default;
const jsonschema = require('jsonschema');

const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const verdicts = cases.map(({ schema, value }) => ({
  form: validator.rawValidation(schema, value).errors?.length ? false : !validator.rawValidation(schema, value).validationError,
  server: jsonschema.validate(value, schema).valid,
}));
process.stdout.write(JSON.stringify(verdicts));
