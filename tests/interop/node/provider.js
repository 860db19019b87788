// An OpenID provider that others wrote and certified (oidc-provider), for one client. Who signs in gives a subject.
// In the environment: PORT, CLIENT_ID, CLIENT_SECRET, REDIRECT_URL. Out: one line once it listens.
import { Provider } from "oidc-provider";

const { PORT, CLIENT_ID, CLIENT_SECRET, REDIRECT_URL } = process.env;
const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: [REDIRECT_URL] }],
  pkce: { required: () => true },
});
provider.listen(Number(PORT), "127.0.0.1", () => console.log("listening"));
