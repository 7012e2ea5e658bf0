import { createHash } from 'node:crypto';

/**
 * The tenant's and the client's salt as one that vLLM and SGLang take: up to 128 characters, without `@`, `/` and backslash. No two pairs give
 * the same one, and neither can be read from it. '' when there is none.
 */
export function joinedSalt(tenant: string, client: string): string {
  if (tenant === '' && client === '') return '';
  return createHash('sha256')
    .update(JSON.stringify([tenant, client]))
    .digest('base64url');
}
