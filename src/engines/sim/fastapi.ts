/** What vLLM's and SGLang's servers have in common: both are made with FastAPI, and list their models alike. */
import type { HttpDialect } from '../openai/dialect.ts';
import { sendJson } from '../openai/replies.ts';
import { pathOf, type Routes } from '../openai/routes.ts';
import type { SimCore } from './simcore.ts';

export function fastApi(routes: Routes, refuse: HttpDialect['refuse']): HttpDialect {
  return {
    async route(face, request, response) {
      const path = pathOf(request);
      const found = Object.hasOwn(routes, path) ? routes[path] : undefined;
      if (found === undefined) sendJson(response, 404, { detail: 'Not Found' });
      else if (request.method === found.method) await found.handle(face, request, response);
      else sendJson(response, 405, { detail: 'Method Not Allowed' }, { allow: found.method });
    },
    refuse,
  };
}

/** Answer of `/v1/models`. @param created Unix seconds @param more fields that only this server has */
export function modelList({ info }: SimCore, created: number, owner: string, more: object = {}): object {
  const { model, contextTokens } = info;
  const card = { id: model, object: 'model', created, owned_by: owner, root: model, parent: null, max_model_len: contextTokens };
  const note = 'simulated: no model is run; text is made up and timings follow declared constants';
  return { object: 'list', data: [{ ...card, ...more, simulated: true, note }] };
}
