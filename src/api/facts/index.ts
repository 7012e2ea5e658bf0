/** What engines and routers know of the API. A face of its own: they read no resource, and load no library for schemas and YAML. */
export { ownArguments } from '../ownarguments.ts';
export { FREE_COSTS, STORE_PASSWORD } from '../servingdeployment.ts';
export { nearestName } from '../suggestion.ts';
