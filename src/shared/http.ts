/**
 * What we use of `node:http`. Imported by name it costs every process some tens of milliseconds: Node then reads all that the module
 * exports, and one of those loads the whole of `fetch`.
 */
export const { Agent, createServer, request } = process.getBuiltinModule('node:http');
