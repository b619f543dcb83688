// Asks the browser for a passkey, and sends its answer in the form that stands in the page.

const isThere = typeof PublicKeyCredential === 'function' && 'parseRequestOptionsFromJSON' in PublicKeyCredential;

/** What the page knows when the button is pressed: a user name and a code where an account is set up. */
function fieldsOf(form: HTMLFormElement): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [name, value] of new FormData(form)) if (typeof value === 'string' && name !== 'token' && name !== 'answer') fields[name] = value;
  return fields;
}

async function askForPasskey(options: { challenge: string; user?: unknown }): Promise<Credential | null> {
  if (options.user !== undefined)
    return navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options as unknown as PublicKeyCredentialCreationOptionsJSON),
    });
  return navigator.credentials.get({
    publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options as unknown as PublicKeyCredentialRequestOptionsJSON),
  });
}

async function answer(part: HTMLElement, form: HTMLFormElement): Promise<void> {
  const token = part.querySelector<HTMLInputElement>('[data-asks] [name=token]')?.value ?? '';
  const said = await fetch(part.dataset['passkey'] ?? '', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'form-token': token },
    body: JSON.stringify(fieldsOf(form)),
  });
  const options = (await said.json()) as { challenge?: string; to?: string; user?: unknown };
  if (options.to !== undefined) return location.assign(options.to);
  if (options.challenge === undefined) throw new Error('no challenge');
  const credential = await askForPasskey({ ...options, challenge: options.challenge });
  if (!(credential instanceof PublicKeyCredential)) throw new Error('no passkey');
  const field = form.elements.namedItem('answer');
  if (field instanceof HTMLInputElement) field.value = JSON.stringify(credential.toJSON());
  form.submit();
}

for (const part of document.querySelectorAll<HTMLElement>('[data-passkey]')) {
  const form = part.querySelector<HTMLFormElement>('form[data-answers]');
  const failed = part.querySelector<HTMLElement>('[data-failed]');
  if (!isThere || !form) continue;
  part.hidden = false;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const button = form.querySelector('button');
    if (failed) failed.hidden = true;
    if (button) button.disabled = true;
    answer(part, form).catch(() => {
      if (failed) failed.hidden = false;
      if (button) button.disabled = false;
    });
  });
}

export {};
