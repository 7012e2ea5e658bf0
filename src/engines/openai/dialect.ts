/** The seam for what an engine speaks over HTTP: which paths there are and how it says no. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SluiceError } from '../../shared/index.ts';
import { sendError } from './replies.ts';
import { type Face, route } from './routes.ts';

export interface HttpDialect {
  /** Answers one request. @throws what `refuse` tells, while nothing was sent */
  route(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void>;
  refuse(response: ServerResponse, error: SluiceError): void;
}

/** docs/engine-protocol.md. */
export const sluiceDialect: HttpDialect = { route, refuse: (response, error) => sendError(response, error) };
