// A stock Backstage app: published plugins as they are, and the sign-in with an OpenID provider as Backstage's guide has it.
import '@backstage/ui/css/styles.css';
import ReactDOM from 'react-dom/client';
import { OAuth2 } from '@backstage/core-app-api';
import { SignInPage } from '@backstage/core-components';
import { createApp } from '@backstage/frontend-defaults';
import {
  ApiBlueprint, configApiRef, createApiRef, createFrontendModule, discoveryApiRef, oauthRequestApiRef,
} from '@backstage/frontend-plugin-api';
import { SignInPageBlueprint } from '@backstage/plugin-app-react';
import catalogPlugin from '@backstage/plugin-catalog/alpha';
import orgPlugin from '@backstage/plugin-org/alpha';
import scaffolderPlugin from '@backstage/plugin-scaffolder/alpha';
import userSettingsPlugin from '@backstage/plugin-user-settings/alpha';

const providerRef = createApiRef({ id: 'auth.oidc' });
const provider = ApiBlueprint.make({
  name: 'oidc',
  params: define => define({
    api: providerRef,
    deps: { configApi: configApiRef, discoveryApi: discoveryApiRef, oauthRequestApi: oauthRequestApiRef },
    factory: deps => OAuth2.create({
      ...deps,
      environment: deps.configApi.getOptionalString('auth.environment'),
      provider: { id: 'oidc', title: 'Acme', icon: () => null },
      defaultScopes: ['openid', 'profile', 'email'],
    }),
  }),
});
const signInPage = SignInPageBlueprint.make({
  params: {
    loader: async () => props => (
      <SignInPage
        {...props}
        providers={['guest', { id: 'oidc', title: 'Acme', message: 'Sign in with Acme', apiRef: providerRef }]}
      />
    ),
  },
});

const app = createApp({
  features: [
    catalogPlugin, orgPlugin, scaffolderPlugin, userSettingsPlugin,
    createFrontendModule({ pluginId: 'app', extensions: [provider, signInPage] }),
  ],
});
ReactDOM.createRoot(document.getElementById('root')).render(app.createRoot());
