// A stock Backstage backend: published packages in the order that Backstage's own template has them, and nothing else.
'use strict';
const { createBackend } = require('@backstage/backend-defaults');

const backend = createBackend();
for (const feature of [
  ...pages(),
  '@backstage/plugin-auth-backend',
  '@backstage/plugin-auth-backend-module-guest-provider',
  '@backstage/plugin-auth-backend-module-oidc-provider',
  '@backstage/plugin-catalog-backend',
  '@backstage/plugin-catalog-backend-module-logs',
  '@backstage/plugin-catalog-backend-module-scaffolder-entity-model',
  '@backstage/plugin-scaffolder-backend',
  '@roadiehq/scaffolder-backend-module-http-request',
  '@backstage/plugin-proxy-backend',
  '@backstage/plugin-mcp-actions-backend',
]) {
  backend.add(require(feature));
}
backend.start();

// The pages are served where they are built: `make backstage-pages`.
function pages() {
  try {
    require.resolve('app/package.json');
  } catch {
    return [];
  }
  return ['@backstage/plugin-app-backend'];
}
