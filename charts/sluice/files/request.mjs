// What `helm test` asks: one completion through the router of the ServingDeployment that it made. Ends well only when tokens came.
const { BASE_URL, MODEL, TIMEOUT_SECONDS } = process.env;
const deadline = Date.now() + Number(TIMEOUT_SECONDS) * 1000;
const body = JSON.stringify({ model: MODEL, prompt: 'Why is the sky blue? '.repeat(20), max_tokens: 16, ignore_eos: true });

async function ask() {
  const signal = AbortSignal.timeout(Math.max(1, Math.min(30_000, deadline - Date.now())));
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${BASE_URL}/v1/completions`, { method: 'POST', headers, body, signal });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${text.slice(0, 500)}`);
  const { usage } = JSON.parse(text);
  if (usage?.completion_tokens !== 16) throw new Error(`expected 16 tokens; got ${text.slice(0, 500)}`);
  return `${usage.completion_tokens} tokens after a prompt of ${usage.prompt_tokens}, request ${answer.headers.get('x-request-id')}`;
}

for (let said = ''; ; ) {
  try {
    console.log(`ok: ${await ask()}`);
    break;
  } catch (error) {
    const why = `${error.message}${error.cause ? `: ${error.cause.message}` : ''}`;
    if (why !== said) console.log(`not yet: ${why}`);
    said = why;
    if (Date.now() > deadline) {
      console.log(`no answer within ${TIMEOUT_SECONDS} s; kubectl describe sd tells what it waits for`);
      process.exitCode = 1;
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
