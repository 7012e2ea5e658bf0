#!/usr/bin/env node
// The `sluice` command: `npx sluice explain <id>` is `node scripts/bootstrap.mjs sluice explain <id>`.
import { bootstrap } from './bootstrap.mjs';

process.exitCode = await bootstrap('sluice', process.argv.slice(2));
