import { expect, it } from 'vitest';
import { ERROR_CODES } from '../../src/shared/index.ts';

/** docs/errors.md is this text. After a change of the registry: `npm test -- test/unit/errors-document.test.ts -u`. */
function errorsDocument(): string {
  const rows = Object.entries(ERROR_CODES)
    .map(([code, { status, type, meaning }]) => ({ code, status, type, meaning }))
    .sort((a, b) => a.status - b.status)
    .map(({ code, status, type, meaning }) => `| \`${code}\` | ${status} | \`${type}\` | ${meaning} |`);
  return `# Errors

What a client of the router or of an engine process can meet. The body has OpenAI's shape, so OpenAI clients raise their own classes:

\`\`\`json
{ "error": { "message": "max_tokens is -1: expected a whole number from 1", "type": "invalid_request_error", "param": "max_tokens", "code": "invalid_request" } }
\`\`\`

\`code\` is stable; \`message\` is for people and may change. \`param\` names the field as the client wrote it, or is null. 429 and 503 carry
\`Retry-After\` when a retry makes sense. After the first byte of a stream the status has been sent: a failure is then one event
\`data: {"error": {…}}\`, and the connection ends without \`[DONE]\`.

| code | status | type | meaning |
|---|---|---|---|
${rows.join('\n')}

Generated from \`src/shared/errors.ts\`; a test holds both equal.
`;
}

it('docs/errors.md says what the registry says', async () => {
  await expect(errorsDocument()).toMatchFileSnapshot('../../docs/errors.md');
});
